"""The search loop: policies that should agree do, budgets hold, and every candidate is accounted for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection, View
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.engine.tree_policies import ForkingSearch

from .tiny_models import VOCABULARY, tiny_model

PROMPT = [5, 7, 9]
SETTINGS = SearchSettings(n=6, max_new_tokens=24, check_every=4, stop_ids=frozenset(range(10)))


@pytest.fixture(scope="module")
def engine() -> TorchLanguageModel:
    return TorchLanguageModel(tiny_model("qwen2"))


def searched(engine: TorchLanguageModel, settings: SearchSettings = SETTINGS, prompt: list[int] = PROMPT, **changes: Any) -> Tree:
    search = Search(engine, Prompt(prompt), replace(settings, **changes))
    run(engine, [search])
    engine.close(search.session)
    return search.tree


def answers(tree: Tree) -> list[tuple[list[int], int]]:
    return sorted(
        (tree.tokens(leaf).tolist(), int(m)) for leaf, m in zip(tree.rollouts.leaf, tree.rollouts.multiplicity, strict=True)
    )


def test_beam_width_1_equals_best_of_1(engine: TorchLanguageModel) -> None:
    assert searched(engine, n=1, policy=Beam(1)) == searched(engine, n=1, policy=BestOfN())


def test_early_stop_that_never_stops_equals_best_of_n(engine: TorchLanguageModel) -> None:
    assert searched(engine, policy=EarlyStop(threshold=-1e9)) == searched(engine, policy=BestOfN())


def test_each_sample_is_the_one_that_its_stream_draws_alone(engine: TorchLanguageModel) -> None:
    together = searched(engine, n=5)
    for stream in range(5):
        search = Search(engine, Prompt(PROMPT), replace(SETTINGS, n=1), first_stream=stream)
        run(engine, [search])
        engine.close(search.session)
        tokens = search.tree.tokens(search.tree.rollouts.leaf[0]).tolist()
        assert tokens in [answer for answer, _ in answers(together)]


@pytest.mark.parametrize("policy", [BestOfN(), Beam(2), EarlyStop(slack=0.1), SpeculativeRejection(0.5)], ids=repr)
@pytest.mark.parametrize("budget", [1, 5, 37, 90])
def test_the_budget_is_never_exceeded(engine: TorchLanguageModel, policy: Policy, budget: int) -> None:
    tree = searched(engine, policy=policy, budget=budget, seed=4)
    assert 0 < len(tree) <= budget


def test_a_candidate_ends_where_and_only_where_it_says(engine: TorchLanguageModel) -> None:
    tree = searched(engine, n=20, policy=SpeculativeRejection(0.2))
    kinds = set()
    for leaf, ended in zip(tree.rollouts.leaf.tolist(), tree.rollouts.ended.tolist(), strict=True):
        tokens = tree.tokens(leaf).tolist()
        kinds.add(Ended(ended))
        assert (tokens[-1] in SETTINGS.stop_ids) == (ended == Ended.EOS)
        assert not set(tokens[:-1]) & SETTINGS.stop_ids
        assert (len(tokens) == SETTINGS.max_new_tokens and ended != Ended.EOS) == (ended == Ended.LENGTH)
    assert kinds >= {Ended.EOS, Ended.PRUNED}


def test_all_samples_are_kept_with_their_multiplicity(engine: TorchLanguageModel) -> None:
    tree = searched(engine, n=12, sampling=Sampling(0.3))
    assert tree.rollouts.multiplicity.sum() == 12
    greedy = searched(engine, n=12, sampling=Sampling(0))
    assert answers(greedy)[0][1] == 12
    assert len(greedy) == len(answers(greedy)[0][0])


@dataclass(frozen=True)
class Refork:
    """Drops the worst live leaf, and starts one sample from the root and one from the first token of the best."""

    reason = Ended.PRUNED
    revisits = True

    def __call__(self, view: View) -> np.ndarray:
        children = view.live.copy()
        order = view.best_first()
        if not len(order):
            return children
        children[order[-1]] = 0
        if view.live.sum() + view.finished.sum() < 30:
            node = order[0]
            while view.parent[node] >= 0:
                node = view.parent[node]
            children[node] += 1
            children[-1] += 1
        return children


def test_policies_may_grow_interior_nodes_and_the_root(engine: TorchLanguageModel) -> None:
    search = Search(engine, Prompt(PROMPT), replace(SETTINGS, policy=Refork(), seed=3, max_new_tokens=16))
    run(engine, [search])
    tree = search.tree
    forks = set(tree.rollouts.fork.tolist())
    assert ROOT in forks and len(forks) > 1
    for leaf, fork in zip(tree.rollouts.leaf.tolist(), tree.rollouts.fork.tolist(), strict=True):
        assert fork == ROOT or fork in tree.path(leaf).tolist()
    engine.close(search.session)
    assert engine.statistics.cached_tokens == 0


def test_policies_that_return_are_asked_again_when_all_candidates_have_ended(engine: TorchLanguageModel) -> None:
    @dataclass
    class OneAfterTheOther:
        reason = Ended.PRUNED
        revisits = True

        def __call__(self, view: View) -> np.ndarray:
            children = view.live.copy()
            children[-1] = int(not view.live.any() and view.begun < 5)
            return children

    tree = searched(engine, n=2, policy=OneAfterTheOther(), max_new_tokens=7)
    assert tree.rollouts.multiplicity.sum() == 5
    assert set(tree.rollouts.ended.tolist()) <= {Ended.EOS, Ended.LENGTH}
    together = searched(engine, n=5, max_new_tokens=7)
    assert answers(tree) == answers(together)


@dataclass
class Recording:
    """Keeps what it was shown, changes nothing."""

    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        self.views: list[View] = []

    def __call__(self, view: View) -> np.ndarray:
        self.views.append(view)
        return view.live.copy()


def test_checks_come_every_so_many_tokens(engine: TorchLanguageModel) -> None:
    policy = Recording()
    searched(engine, n=3, policy=policy, check_every=5, stop_ids=frozenset())
    assert [int(view.depth[view.live > 0].max()) for view in policy.views] == [5, 10, 15, 20]


def test_checks_come_when_all_candidates_have_ended_a_line(engine: TorchLanguageModel) -> None:
    line_ends = frozenset(range(0, VOCABULARY, 7))
    policy = Recording()
    tree = searched(engine, policy=policy, line_ends=line_ends, stop_ids=frozenset(), max_new_tokens=40)
    assert len(policy.views) > 1
    for i, view in enumerate(policy.views):
        for leaf in np.flatnonzero(view.live):
            tokens = tree.tokens(int(leaf)).tolist()
            assert tokens[-1] in line_ends
            assert sum(token in line_ends for token in tokens) == i + 1


def test_a_policy_that_breaks_the_rules_is_told_so(engine: TorchLanguageModel) -> None:
    @dataclass(frozen=True)
    class Broken:
        reason = Ended.PRUNED
        revisits = False

        def __call__(self, view: View) -> np.ndarray:
            return view.live[:-1]

    with pytest.raises(ValueError, match="for each node and the root"):
        searched(engine, policy=Broken())


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"max_new_tokens": 0},
        {"budget": 0},
        {"check_every": 0},
        {"n": "4"},
        {"seed": 0.5},
        {"policy": "wide"},
        {"policy": 4},
        {"policy": BestOfN},
        {"scorer": "size"},
        {"scorer": 4},
        {"sampling": 0.8},
    ],
)
def test_senseless_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        SearchSettings(**wrong)


@pytest.mark.parametrize("policy", [BestOfN(), ForkingSearch()], ids=repr)
def test_stopping_ends_a_search_where_it_is(engine: TorchLanguageModel, policy: Policy) -> None:
    search = Search(engine, Prompt(PROMPT), replace(SETTINGS, stop_ids=frozenset(), policy=policy))
    search.stop()
    run(engine, [search])
    assert search.done and set(search.tree.rollouts.ended.tolist()) == {Ended.STOPPED}
