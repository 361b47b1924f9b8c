"""The picture of a search: where its candidates stand, what colours say, and that it is written as its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.search_picture import FAILS, PASSES, UNKNOWN, heights, node_colours, stretches

from .commands import refused, succeed


@pytest.fixture
def tree() -> Tree:
    """Two that share their first token, of which the second passes, and one that was stopped."""
    made = Tree.below([1, 2], {"problem": "text/problem", "best": 1})
    first = made.add_node(ROOT, 5, logprob=-0.1)
    ends = [made.add_node(first, token, logprob=-0.2) for token in (6, 7)] + [made.add_node(ROOT, 8, logprob=-2.0)]
    for leaf, ended in zip(ends, (Ended.EOS, Ended.EOS, Ended.STOPPED), strict=True):
        made.add_rollout(leaf, ROOT, ended, 0)
    made.verdicts = ["wrong_answer", "passed", None]
    return made


def test_candidates_have_places_of_their_own_and_what_they_share_is_between_them(tree: Tree) -> None:
    shared, failing, passing, stopped, root = heights(tree).tolist()
    assert len({failing, passing, stopped}) == 3 and shared == (failing + passing) / 2
    assert root == (shared + stopped) / 2
    assert heights(Tree.below([1])).tolist() == [0]


def test_a_beginning_has_the_colour_of_the_best_that_it_leads_to(tree: Tree) -> None:
    assert node_colours(tree) == [PASSES, FAILS, PASSES, UNKNOWN]


def test_a_stretch_without_a_fork_is_one_line(tree: Tree) -> None:
    assert stretches(tree, node_colours(tree)) == [(ROOT, 0, 0), (0, 1, 1), (0, 2, 2), (ROOT, 3, 3)]
    end = 3
    for token in range(100):
        end = tree.add_node(end, token, logprob=-0.1)
    tree.add_rollout(end, ROOT, Ended.LENGTH, 0)
    longer = stretches(tree, node_colours(tree))
    assert len(longer) == 4 and longer[-1] == (ROOT, 3, end)


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_drawn_where_the_name_asks_for_one(suffix: str, begins: bytes, tree: Tree, tmp_path: Path) -> None:
    tree.save(tmp_path / "tree.parquet")
    out = tmp_path / f"search.{suffix}"
    succeed("view", tmp_path / "tree.parquet", "--out", out)
    assert out.read_bytes().startswith(begins)
    assert suffix == "png" or b"passes the examples: printed" in out.read_bytes()
    del tree.metadata["best"]  # as in a dataset, whose verdicts are by all tests
    tree.save(tmp_path / "stored.parquet")
    succeed("view", tmp_path / "stored.parquet", "--out", out)
    assert suffix == "png" or b"passes the tests" in out.read_bytes()
    assert "holds no tree of these problems" in refused("view", tmp_path / "tree.parquet", "--out", out, "--problem", "other")
