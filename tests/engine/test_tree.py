"""The token tree: prefixes shared, stored and read back."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError

from guided_gen.engine.errors import DataError
from guided_gen.engine.files import replaced_atomically
from guided_gen.engine.tree import ROOT, Ended, Tree, load_trees, save_trees
from guided_gen.engine.tree_files import PARQUET, SCHEMA

sequences = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=12)


def tree_of(rollouts: list[list[int]]) -> Tree:
    tree = Tree.below([1, 2, 3], {"problem": "made up"})
    for seed, tokens in enumerate(rollouts):
        node = ROOT
        for depth, token in enumerate(tokens):
            node = tree.add_node(node, token, logprob=-0.1 * depth, value=0.5)
        tree.add_rollout(node, ROOT, Ended.EOS, seed)
    return tree


@given(sequences)
def test_a_tree_holds_each_rollout_and_each_prefix_once(rollouts: list[list[int]]) -> None:
    tree = tree_of(rollouts)
    assert len(tree) == len({tuple(tokens[: i + 1]) for tokens in rollouts for i in range(len(tokens))})
    held = {tuple(tree.tokens(leaf)): int(m) for leaf, m in zip(tree.rollouts.leaf, tree.rollouts.multiplicity, strict=True)}
    assert held == {tuple(tokens): rollouts.count(tokens) for tokens in rollouts}


@given(sequences)
def test_path_sums_add_up_along_each_path(rollouts: list[list[int]]) -> None:
    tree = tree_of(rollouts)
    sums = tree.path_sums(tree.nodes.logprob)
    np.testing.assert_allclose(sums, tree.logprob_sum)
    for node in range(len(tree)):
        assert sums[node] == pytest.approx(tree.nodes.logprob[tree.path(node)].sum(), abs=1e-5)
        assert tree.depth[node] == len(tree.path(node))


def test_a_tree_saved_and_loaded_is_equal(tmp_path: Path) -> None:
    trees = [tree_of([[1, 2], [1, 3, 3], [1, 2]]), Tree.below([9])]
    trees[0].verdicts[0] = "passed"
    save_trees(trees, tmp_path / "trees.parquet")
    loaded = load_trees(tmp_path / "trees.parquet")
    assert loaded == trees
    node = loaded[0].add_node(ROOT, 4)  # and it still grows
    assert loaded[0].child(ROOT, 4) == node


def test_one_tree_is_loaded_only_from_a_file_with_one(tmp_path: Path) -> None:
    tree_of([[1]]).save(tmp_path / "one.parquet")
    assert Tree.load(tmp_path / "one.parquet") == tree_of([[1]])
    save_trees([], tmp_path / "none.parquet")
    with pytest.raises(DataError, match="0 trees"):
        Tree.load(tmp_path / "none.parquet")


def test_files_that_are_no_trees_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trees.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        load_trees(path)
    save_trees([tree_of([[1, 2, 3]])], path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        load_trees(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_trees(tmp_path / "missing.parquet")


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    trees = [tree_of([[1, 2, 3, 4], [1, 2, 5], [2, 2]])]
    save_trees(trees, tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    refused, places = 0, random.Random(0).sample(range(8 * len(whole)), 2000)
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path = tmp_path / "flipped.parquet"
        path.write_bytes(flipped)
        try:
            assert load_trees(path) == trees  # the digest's own name
        except DataError:
            refused += 1
    assert refused > 0.98 * len(places)


def test_a_file_that_is_read_in_parts_is_checked_too_and_again_when_it_changes(tmp_path: Path) -> None:
    path, trees = tmp_path / "trees.parquet", [tree_of([[1, 2, 3, 4], [1, 2, 5], [2, 2]])]
    save_trees(trees, path)
    rows = [("prompt_hash", "==", trees[0].prompt_hash)]
    assert load_trees(path, rows) == trees
    flipped = bytearray(path.read_bytes())
    flipped[8] ^= 1
    path.write_bytes(flipped)
    os.utime(path, (1, 1))
    with pytest.raises(DataError, match="digest"):
        load_trees(path, rows)


def test_a_flipped_bit_of_a_stored_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trees.parquet"
    save_trees([tree_of([list(range(200))])], path)
    column = pq.read_metadata(path).row_group(0).column(SCHEMA.names.index("nodes.token_id"))
    flipped = bytearray(path.read_bytes())
    flipped[column.data_page_offset + column.total_compressed_size - 8] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(DataError, match="cannot be read"):
        load_trees(path)


def test_files_without_checksums_are_loaded(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([tree_of([[1, 2, 3]]).to_row()], schema=SCHEMA)
    pq.write_table(table, tmp_path / "old.parquet", **PARQUET | {"write_page_checksum": False})
    assert Tree.load(tmp_path / "old.parquet") == tree_of([[1, 2, 3]])


@pytest.mark.parametrize(
    ("column", "value", "complaint"),
    [
        ("nodes.parent", [0, 0, 1], "parent"),
        ("rollouts.leaf", [7], "not there"),
        ("rollouts.verdict", [None, None], "verdicts"),
        ("nodes.token_id", None, "not a token tree"),
    ],
)
def test_rows_that_contradict_themselves_are_refused(column: str, value: object, complaint: str) -> None:
    row = tree_of([[1, 2, 3]]).to_row()
    with pytest.raises(DataError, match=complaint):
        Tree.from_row(row | {column: value})


def test_two_children_with_one_token_are_refused() -> None:
    row = tree_of([[1, 2], [1, 3]]).to_row()
    with pytest.raises(DataError, match="same token"):
        Tree.from_row(row | {"nodes.token_id": [1, 2, 2]})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RuntimeError), replaced_atomically(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("full", [OSError(errno.ENOSPC, "No space left"), SafetensorError("No space left (os error 28)")])
def test_what_a_full_disk_raises_names_the_file(full: Exception, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as error, replaced_atomically(tmp_path / "file"):
        raise full
    assert error.value.filename == str(tmp_path / "file")


def test_what_a_folder_that_cannot_be_made_raises_names_the_file() -> None:
    with pytest.raises(NotADirectoryError) as error, replaced_atomically(Path("/dev/null/folder/file")):
        pass
    assert error.value.filename == "/dev/null/folder/file"


def test_the_stored_columns_are_the_published_schema(tmp_path: Path) -> None:
    tree_of([[1]]).save(tmp_path / "one.parquet")
    names = pq.read_schema(tmp_path / "one.parquet").names
    assert {
        "prompt_length",
        "prompt_hash",
        "nodes.token_id",
        "nodes.parent",
        "nodes.logprob",
        "nodes.value",
        "rollouts.leaf",
    } <= set(names)
