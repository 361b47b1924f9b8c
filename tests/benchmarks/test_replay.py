"""A replay decides what a live search with the same candidates decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from guided_gen.benchmarks.arms import Arm
from guided_gen.benchmarks.replay import Pool, ReplayModel, ReplaySession, ReplaySettings, outcome, pool_line, replay, replayed
from guided_gen.benchmarks.results import key_of
from guided_gen.engine.errors import DataError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection
from guided_gen.engine.scorers import Scorer, mean_logprob, self_certainty, value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.tail import Tail
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import Ended, Tree
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.model import ValueModel

from ..engine.tiny_models import tiny_model

PROMPT = [5, 7, 9]
LIVE = SearchSettings(n=8, max_new_tokens=30, check_every=4, stop_ids=frozenset(range(10)), seed=3)
SETTINGS = ReplaySettings(check_every=4, resamples=5, seed=3)
POLICIES: list[Policy] = [BestOfN(), EarlyStop(-2.0), EarlyStop(slack=0.3), SpeculativeRejection(0.3), SpeculativeRejection(0.6)]


@pytest.fixture(scope="module")
def engine() -> TorchLanguageModel:
    return TorchLanguageModel(tiny_model("qwen2"))


def live(engine: TorchLanguageModel, settings: SearchSettings) -> Search:
    search = Search(engine, Prompt(PROMPT), settings)
    run(engine, [search])
    engine.close(search.session)
    return search


@pytest.fixture(scope="module")
def pool_tree(engine: TorchLanguageModel) -> Tree:
    tree = live(engine, LIVE).tree
    tree.metadata = {"problem": "made/up", "max_new_tokens": 30, "tests_kind": "full"}
    tree.verdicts = ["passed" if row % 3 == 0 else "failed" for row in range(len(tree.rollouts))]
    return tree


@pytest.fixture
def pool(pool_tree: Tree) -> Pool:
    return Pool.of(pool_tree)


def ends(tree: Tree) -> list[tuple[list[int], int, int]]:
    columns = (tree.rollouts.leaf.tolist(), tree.rollouts.ended.tolist(), tree.rollouts.multiplicity.tolist())
    return sorted((tree.tokens(leaf).tolist(), ended, count) for leaf, ended, count in zip(*columns, strict=True))


@pytest.mark.parametrize("budget", [None, 40, 90])
@pytest.mark.parametrize("scorer", [mean_logprob, self_certainty])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_replay_ends_each_candidate_where_the_live_search_does(
    engine: TorchLanguageModel, pool: Pool, policy: Policy, scorer: Scorer, budget: int | None
) -> None:
    run_live = live(engine, replace(LIVE, policy=policy, scorer=scorer, budget=budget))
    again, steps = replayed(pool, pool.leaves.tolist(), policy, scorer, replace(SETTINGS, budget=budget))
    assert ends(again.tree) == ends(run_live.tree)
    assert again.decoded_tokens == run_live.decoded_tokens
    assert steps == run_live.tree.depth.max()


def test_the_policies_do_cut_something(pool: Pool) -> None:
    kinds = set()
    for policy in POLICIES[1:]:
        kinds |= set(replayed(pool, pool.leaves.tolist(), policy, mean_logprob, SETTINGS)[0].tree.rollouts.ended.tolist())
    assert kinds >= {Ended.EOS, Ended.STOPPED, Ended.PRUNED}


def value_tail(model: Any) -> Tail:
    """A random probe on the last token's state: values that jump about."""
    probe = ValueModel.from_base(model, 3, HeadSettings(("last",)), 0)
    with torch.no_grad():
        probe.head.project.weight.normal_(generator=torch.Generator().manual_seed(0)).mul_(0.3)
    return probe.engine_tail(torch.float32, "cpu")


@pytest.fixture(scope="module")
def valued() -> tuple[TorchLanguageModel, Tree]:
    """A model with a value tail, and a judged pool of its rollouts with every node's value."""
    model = tiny_model("qwen2")
    engine = TorchLanguageModel(model, value_tail(model))
    tree = live(engine, replace(LIVE, scorer=value)).tree
    tree.metadata = {"problem": "made/up", "max_new_tokens": 30, "tests_kind": "full"}
    tree.verdicts = ["passed" if row % 2 else "failed" for row in range(len(tree.rollouts))]
    return engine, tree


@pytest.mark.parametrize("budget", [None, 30, 70])
@pytest.mark.parametrize("policy", [EarlyStop(slack=0.1), SpeculativeRejection(0.4)], ids=repr)
def test_a_replay_on_values_decides_what_the_live_search_does(
    valued: tuple[TorchLanguageModel, Tree], policy: Policy, budget: int | None
) -> None:
    """Between two checks the newest candidates have no values yet, and a budget is spared by what is known."""
    engine, tree = valued
    pool = Pool.of(tree)
    run_live = live(engine, replace(LIVE, policy=policy, scorer=value, budget=budget))
    again, _ = replayed(pool, pool.leaves.tolist(), policy, value, replace(SETTINGS, budget=budget))
    assert ends(again.tree) == ends(run_live.tree)
    assert len(again.tree) < len(tree)


def test_a_value_is_known_only_once_it_was_read(valued: tuple[TorchLanguageModel, Tree]) -> None:
    tree = valued[1]
    pool = Pool.of(tree)
    assert not np.isnan(tree.nodes.value).any()
    first, second = pool.leaves[:2].tolist()
    session = ReplaySession(pool, [first, second], Tree(tree.prompt_length, tree.prompt_hash))
    model = ReplayModel()
    [(one, other)] = model.advance([Growth(session, np.asarray([-1, -1]), np.asarray([0, 1]), 6)])
    assert np.isnan(session.tree.nodes.value).all()
    model.read([(session, np.asarray([one]))])
    read = np.zeros(len(session.tree), bool)
    read[session.tree.path(int(one))] = True
    assert one != other and not read.all()
    stored = tree.nodes.value[session.source]
    assert session.tree.nodes.value[read].tolist() == stored[read].tolist()
    assert np.isnan(session.tree.nodes.value[~read]).all()


def test_best_of_the_whole_pool_costs_its_nodes_and_passes_as_it_is_labelled(pool: Pool) -> None:
    search, _ = replayed(pool, pool.leaves.tolist(), BestOfN(), mean_logprob, SETTINGS)
    found = outcome(pool, search, mean_logprob)
    complete = [leaf for leaf, ended in zip(pool.tree.rollouts.leaf, pool.tree.rollouts.ended, strict=True) if ended == Ended.EOS]
    best = max(complete, key=lambda leaf: mean_logprob(pool.tree)[leaf])
    assert found["pass@1"] == pool.correct[best]
    assert found["oracle"] == pool.correct[complete].any()
    assert found["tokens"] == len(pool.tree)


ARMS = [Arm("best-of-n", BestOfN(), 4), Arm("never stops", EarlyStop(-1e9), 4), Arm("rejection", SpeculativeRejection(0.5), 4)]
SCORERS = {"logprob": mean_logprob, "self-certainty": self_certainty}


def test_the_same_settings_give_the_same_lines_and_policies_share_their_samples(pool: Pool) -> None:
    lines = list(replay(pool, ARMS, SCORERS, SETTINGS))
    assert lines == list(replay(pool, ARMS, SCORERS, SETTINGS))
    of = {(line["policy"], line["scorer"]): line for line in lines}
    for scorer in SCORERS:
        best, never = of["best-of-n", scorer], of["never stops", scorer]
        named = {"policy": "", "settings": "", "blind": False}
        assert best | named == never | named
        assert of["rejection", scorer]["tokens"] < best["tokens"]


def test_lines_that_are_there_are_left_out_and_the_others_are_the_same(pool: Pool) -> None:
    lines = list(replay(pool, ARMS, SCORERS, SETTINGS))
    done = {key_of(line) for line in lines[::2]}
    assert list(replay(pool, ARMS, SCORERS, SETTINGS, done)) == lines[1::2]


def test_fewer_candidates_are_the_first_of_the_same_resamples(pool: Pool) -> None:
    """So best-of-n's curve is of nested samples: with more of them the ceiling never falls."""
    arms = [Arm("best-of-n", BestOfN(), n) for n in (1, 2, 4, 8)]
    lines = list(replay(pool, arms, {"logprob": mean_logprob}, SETTINGS))
    assert [line["n"] for line in lines] == [1, 2, 4, 8]
    for key in ("oracle", "tokens", "steps"):
        assert sorted(line[key] for line in lines) == [line[key] for line in lines]


def test_a_pool_is_its_samples(pool: Pool) -> None:
    line = pool_line(pool)
    counts = pool.tree.rollouts.multiplicity
    passed = [verdict == "passed" for verdict in pool.tree.verdicts]
    assert line["samples"] == counts.sum() == 8 and line["correct"] == counts[passed].sum()


def test_what_cannot_be_replayed_is_refused(pool: Pool, pool_tree: Tree) -> None:
    scorers = {"logprob": mean_logprob}
    with pytest.raises(DataError, match="forks"):
        list(replay(pool, [Arm("beam", Beam(1), 8)], scorers, SETTINGS))
    with pytest.raises(DataError, match="fewer than"):
        list(replay(pool, [Arm("best", BestOfN(), 9)], scorers, SETTINGS))
    with pytest.raises(DataError, match="no scores of value"):
        list(replay(pool, [Arm("best", BestOfN(), 8)], {"value": value}, SETTINGS))
    unjudged = Tree.from_row(pool_tree.to_row())
    unjudged.verdicts[0] = None
    with pytest.raises(DataError, match="not judged"):
        Pool.of(unjudged)
