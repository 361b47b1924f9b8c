"""A replay decides what a live search with the same candidates decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guided_gen.benchmarks.replay import Pool, ReplayError, ReplaySettings, load_pools, outcome, replay, replayed
from guided_gen.engine.policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection
from guided_gen.engine.scorers import mean_logprob, self_certainty, value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_model import TorchLanguageModel
from guided_gen.engine.tree import Ended, Tree

from ..engine.tiny_models import tiny_model

PROMPT = [5, 7, 9]
LIVE = SearchSettings(n=8, max_new_tokens=30, check_every=4, stop_ids=frozenset(range(10)), seed=3)
SETTINGS = ReplaySettings(n=8, check_every=4, resamples=5, seed=3)
POLICIES = [BestOfN(), EarlyStop(-2.0), EarlyStop(slack=0.3), SpeculativeRejection(0.3), SpeculativeRejection(0.6)]


@pytest.fixture(scope="module")
def engine() -> TorchLanguageModel:
    return TorchLanguageModel(tiny_model("qwen2"))


def live(engine: TorchLanguageModel, settings: SearchSettings) -> Search:
    search = Search(engine, PROMPT, settings)
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
    engine: TorchLanguageModel, pool: Pool, policy: Policy, scorer: object, budget: int | None
) -> None:
    run_live = live(engine, replace(LIVE, policy=policy, scorer=scorer, budget=budget))  # type: ignore[arg-type]
    again, steps = replayed(pool, pool.leaves.tolist(), policy, scorer, replace(SETTINGS, budget=budget))  # type: ignore[arg-type]
    assert ends(again.tree) == ends(run_live.tree)
    assert again.decoded_tokens == run_live.decoded_tokens
    assert steps == run_live.tree.depth.max()


def test_the_policies_do_cut_something(pool: Pool) -> None:
    kinds = set()
    for policy in POLICIES[1:]:
        kinds |= set(replayed(pool, pool.leaves.tolist(), policy, mean_logprob, SETTINGS)[0].tree.rollouts.ended.tolist())
    assert kinds >= {Ended.EOS, Ended.STOPPED, Ended.PRUNED}


def test_a_value_is_known_only_once_it_was_read(pool_tree: Tree) -> None:
    tree = Tree.from_row(pool_tree.to_row())
    tree.nodes.value[:] = np.linspace(0, 1, len(tree))
    pool = Pool.of(tree)
    search, _ = replayed(pool, pool.leaves.tolist(), BestOfN(), value, SETTINGS)
    assert search.tree.nodes.value.tolist() == tree.nodes.value[search.session.source].tolist()  # type: ignore[attr-defined]
    stopped, _ = replayed(pool, pool.leaves.tolist(), EarlyStop(0.6), value, SETTINGS)
    assert stopped.decoded_tokens < search.decoded_tokens


def test_best_of_the_whole_pool_costs_its_nodes_and_passes_as_it_is_labelled(pool: Pool) -> None:
    search, _ = replayed(pool, pool.leaves.tolist(), BestOfN(), mean_logprob, SETTINGS)
    found = outcome(pool, search, 0)
    complete = [leaf for leaf, ended in zip(pool.tree.rollouts.leaf, pool.tree.rollouts.ended, strict=True) if ended == Ended.EOS]
    best = max(complete, key=lambda leaf: mean_logprob(pool.tree)[leaf])
    assert found["pass@1"] == pool.correct[best]
    assert found["oracle"] == pool.correct[complete].any()
    assert found["tokens"] == len(pool.tree)


def test_the_same_settings_give_the_same_lines_and_policies_share_their_samples(pool: Pool) -> None:
    arms = {"best-of-n": BestOfN(), "never stops": EarlyStop(-1e9), "rejection": SpeculativeRejection(0.5)}
    settings = replace(SETTINGS, n=4)
    lines = list(replay([pool], arms, mean_logprob, settings))
    assert lines == list(replay([pool], arms, mean_logprob, settings))
    assert {**lines[0], "policy": ""} == {**lines[1], "policy": ""}
    assert lines[2]["tokens"] < lines[0]["tokens"]


def test_what_cannot_be_replayed_is_refused(pool: Pool, pool_tree: Tree) -> None:
    with pytest.raises(ReplayError, match="forks"):
        list(replay([pool], {"beam": Beam(1)}, mean_logprob, SETTINGS))
    with pytest.raises(ReplayError, match="fewer than"):
        list(replay([pool], {"best": BestOfN()}, mean_logprob, replace(SETTINGS, n=9)))
    with pytest.raises(ReplayError, match="no scores"):
        list(replay([pool], {"best": BestOfN()}, value, SETTINGS))
    unjudged = Tree.from_row(pool_tree.to_row())
    unjudged.verdicts[0] = None
    with pytest.raises(ReplayError, match="not judged"):
        load_pools(iter([unjudged]))
