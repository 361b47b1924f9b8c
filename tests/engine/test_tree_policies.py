"""The policies of tree_policies.py against what they must do in special cases, and with a real, tiny model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policies import Beam, Policy, View
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.scorers import value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.engine.tree_policies import DVTS, MCTS, REBASE, ForkingSearch, ParticleFilter

from .made_up import MadeUpModel, leaves_with, views
from .tiny_models import tiny_model
from .torch_backend.test_torch_model import PROMPT, reference_logprobs

POLICIES = [DVTS(2), REBASE(), ParticleFilter(), ForkingSearch(), MCTS(simulations=4)]


@given(view=views(), width=st.integers(1, 4))
def test_one_subtree_is_a_beam(view: View, width: int) -> None:
    assert DVTS(1, width)(view).tolist() == Beam(width)(view).tolist()


def two_by_three() -> View:
    """Nodes 0 and 1 below the root, each with three live leaves; those of node 0 are all worth more."""
    return leaves_with(
        [0.5, 0.5, 0.9, 0.8, 0.7, 0.3, 0.2, 0.1],
        parent=np.asarray([-1, -1, 0, 0, 0, 1, 1, 1, -1]),
        depth=np.asarray([1, 1, 2, 2, 2, 2, 2, 2, 0]),
        live=np.asarray([0, 0, 1, 1, 1, 1, 1, 1, 0]),
        population=6,
    )


def test_subtrees_keep_their_shares_whatever_the_others_are_worth() -> None:
    assert DVTS(2, 1)(two_by_three()).tolist() == [0, 0, 3, 0, 0, 3, 0, 0, 0]
    assert DVTS(2, 2)(two_by_three()).tolist() == [0, 0, 2, 1, 0, 2, 1, 0, 0]
    assert DVTS(1, 2)(two_by_three()).tolist() == [0, 0, 3, 3, 0, 0, 0, 0, 0]


def test_a_finished_answer_takes_a_place_of_its_own_subtree_only() -> None:
    finished = np.asarray([0, 0, 0, 0, 2, 0, 0, 0, 0])
    view = replace(two_by_three(), finished=finished, live=np.asarray([0, 0, 1, 1, 0, 1, 1, 0, 0]))
    assert DVTS(2, 1)(view).tolist() == [0, 0, 1, 0, 0, 3, 0, 0, 0]


def test_subtrees_stay_the_same_during_a_search() -> None:
    """A node, once below a subtree's root, is always dealt with it: candidates of two subtrees never compete."""
    seen: dict[int, int] = {}

    class Watched(DVTS):
        def _subtrees(self, view: View) -> tuple[np.ndarray, int]:
            subtree, count = super()._subtrees(view)
            if count == self.subtrees:
                for node in np.flatnonzero(subtree >= 0).tolist():
                    assert seen.setdefault(node, int(subtree[node])) == subtree[node]
            return subtree, count

    settings = SearchSettings(n=9, max_new_tokens=30, policy=Watched(3), scorer=value, check_every=3)
    run(MadeUpModel(vocabulary=3), [Search(MadeUpModel(vocabulary=3), Prompt([1]), settings)])
    assert set(seen.values()) == {0, 1, 2}


def test_rebase_splits_evenly_between_equals_and_is_greedy_as_the_temperature_falls() -> None:
    view = leaves_with([0.4, 0.4, 0.4, 0.4], population=12)
    assert REBASE()(view).tolist() == [3, 3, 3, 3, 0]
    view = leaves_with([0.4, 0.5, 0.6, 0.3], population=12)
    assert REBASE(1e-6)(view).tolist() == [0, 0, 12, 0, 0]
    assert REBASE(1e6)(view).tolist() == [3, 3, 3, 3, 0]


@given(
    values=st.lists(st.floats(0, 1), min_size=1, max_size=8),
    temperature=st.floats(0.01, 3),
    places=st.integers(1, 40),
)
def test_rebase_gives_each_its_quota_rounded_up_or_down(values: list[float], temperature: float, places: int) -> None:
    children = REBASE(temperature)(leaves_with(values, population=places))[:-1]
    quota = np.exp(np.asarray(values) / temperature - max(values) / temperature)
    quota *= places / quota.sum()
    assert children.sum() == places
    assert (np.abs(children - quota) < 1 + 1e-9).all()


def test_the_unscored_get_nothing_unless_all_are() -> None:
    for policy in (REBASE(), ParticleFilter()):
        assert policy(leaves_with([np.nan, 0.1], population=4)).tolist() == [0, 4, 0]
        assert policy(leaves_with([np.nan, np.nan], population=4)).tolist() == [2, 2, 0]


def test_particles_are_resampled_in_proportion_to_their_number_and_weight() -> None:
    """Systematic resampling: each expected number is exact, and each draw is within one of it."""
    view = leaves_with([0.2, 0.5, 0.45], live=np.asarray([1, 1, 3, 0]), population=7)
    weight = np.asarray([1, 1, 3]) * np.exp(np.asarray([0.2, 0.5, 0.45]) / 0.25)
    expected = 7 * weight / weight.sum()
    drawn = np.asarray([ParticleFilter(0.25)(replace(view, rng=np.random.default_rng(seed)))[:-1] for seed in range(4000)])
    assert (np.abs(drawn - expected) < 1).all() and (drawn.sum(axis=1) == 7).all()
    np.testing.assert_allclose(drawn.mean(axis=0), expected, atol=4 * 0.5 / 4000**0.5)


def chain(values: list[float], chances: list[float], **changes: Any) -> View:
    """One path of tokens drawn with `chances`, worth `values`, and a live sample at its end."""
    size = len(values)
    columns = {
        "parent": np.asarray([*range(-1, size - 1), -1]),
        "depth": np.asarray([*range(1, size + 1), 0]),
        "sample_logprob": np.log([*chances, 1.0]),
        "live": np.asarray([0] * (size - 1) + [1, 0]),
    }
    return leaves_with(values, **(columns | changes))


def test_forks_begin_where_another_token_was_likely_and_the_value_is_high() -> None:
    view = chain([0.9, 0.5, 0.8, 0.7, 0.6], [0.9, 0.2, 0.3, 0.99, 0.1], population=3)
    # Node 0 is followed by a token of 0.2, node 1 by one of 0.3 but is worth less than the candidate, node 3 by one of 0.1.
    assert ForkingSearch()(view).tolist() == [1, 0, 0, 1, 1, 0]
    assert ForkingSearch()(replace(view, population=4)).tolist() == [1, 0, 0, 1, 1, 1]
    assert ForkingSearch()(replace(view, population=2)).tolist() == [1, 0, 0, 0, 1, 0]
    assert ForkingSearch(total=1.0)(replace(view, population=3, dropped=np.eye(6, dtype=int)[2])).tolist() == [1, 0, 0, 0, 1, 0]


@given(view=views())
def test_forking_search_never_forks_below_nodes_where_everything_failed(view: View) -> None:
    policy = ForkingSearch(total=10.0, unlikely=0.1)
    children = policy(view)
    for node in np.flatnonzero(children[:-1] > view.live[:-1]).tolist():
        below = [leaf for leaf in range(len(view.live) - 1) if node in ancestors(view, leaf)]
        assert any((children[leaf] and view.live[leaf]) or view.finished[leaf] for leaf in below)


def ancestors(view: View, node: int) -> list[int]:
    found = []
    while node >= 0:
        found.append(node)
        node = int(view.parent[node])
    return found


def prefixes_visited(simulations: int) -> dict[tuple[int, ...], float]:
    """The share of all samples of ten searches that passed through each prefix of three tokens. The best path is 1, 1, 1, ...,
    which the model finds unlikely; an answer is worth the number of its tokens on it before it leaves it."""

    def worth(tokens: tuple[int, ...]) -> float:
        return next((i for i, token in enumerate(tokens) if token != 1), len(tokens)) / 8

    model = MadeUpModel(vocabulary=3, probabilities=lambda tokens: (0.5, 0.2, 0.3), value=worth)
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(10):
        settings = SearchSettings(n=8, max_new_tokens=8, policy=MCTS(0.5, simulations), scorer=value, check_every=1, seed=seed)
        search = Search(model, Prompt([1]), settings)
        run(model, [search])
        tree = search.tree
        for leaf, count in zip(tree.rollouts.leaf.tolist(), tree.rollouts.multiplicity.tolist(), strict=True):
            counts[tuple(tree.tokens(leaf)[:3].tolist())] += count
    return {prefix: count / counts.total() for prefix, count in counts.items()}


@pytest.mark.parametrize("kind", [ForkingSearch, MCTS])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_bounds_a_search_is_finite(kind: type[Any], number: float) -> None:
    with pytest.raises(SettingsError, match="finite"):
        kind(**{"total" if kind is ForkingSearch else "exploration": number})
    assert ForkingSearch(total=1e308)(leaves_with([0.5] * 8)).sum() == 8  # no overflow


def test_tree_search_spends_ever_more_on_the_best_path() -> None:
    best = (1, 1, 1)
    shares = [prefixes_visited(simulations) for simulations in (2, 4, 8)]
    assert all(after.get(best, 0) > before.get(best, 0) for before, after in pairwise(shares))
    assert max(shares[-1], key=lambda prefix: shares[-1][prefix]) == best
    assert shares[-1][best] > 0.5 > 0.2**3


def test_tree_search_without_exploration_grows_the_best_leaf() -> None:
    view = leaves_with([0.2, 0.9, 0.5], sample_logprob=np.log([1 / 3, 1 / 3, 1 / 3, 1]))
    assert MCTS(exploration=0.0)(view).tolist() == [0, 3, 0, 0]


def test_tree_search_starts_afresh_where_much_is_unknown() -> None:
    """Of two equal leaves that hold a tenth of the probability, none is worth more than a new token."""
    view = leaves_with([0.5, 0.5], sample_logprob=np.log([0.05, 0.05, 1]), population=2)
    assert MCTS(exploration=2.0)(view).tolist() == [0, 0, 2]


def test_tree_search_goes_on_with_what_it_has_once_its_plan_is_used_up() -> None:
    view = leaves_with([0.5, 0.1], dropped=np.asarray([0, 0, 6]), population=2)
    assert MCTS(simulations=4)(view).tolist() == [1, 1, 0]
    assert MCTS()(replace(view, tokens_left=1)).tolist() == [1, 1, 0]
    assert MCTS()(replace(view, tokens_left=1000)).tolist() != [1, 1, 0]


def test_tree_search_ends_where_nothing_is_unknown() -> None:
    """Greedy: the one answer is found once, and the search ends, however many were asked for."""
    model = MadeUpModel(probabilities=lambda tokens: (float(len(tokens) == 5), float(len(tokens) != 5), 0, 0))
    settings = SearchSettings(n=3, policy=MCTS(), scorer=value, check_every=2, stop_ids=frozenset([0]))
    search = Search(model, Prompt([1]), settings)
    run(model, [search])
    assert set(search.tree.rollouts.ended.tolist()) == {Ended.EOS} and len(search.tree) == 6


# -- with a real model


@pytest.fixture
def engine() -> TorchLanguageModel:
    return TorchLanguageModel(tiny_model("qwen2"))


SETTINGS = SearchSettings(n=6, max_new_tokens=24, check_every=4, stop_ids=frozenset(range(10)), sampling=Sampling(0.6))


def searched(engine: TorchLanguageModel, settings: SearchSettings) -> Tree:
    search = Search(engine, Prompt(PROMPT), settings)
    run(engine, [search])
    engine.close(search.session)
    assert engine.statistics.cached_tokens == 0
    return search.tree


@pytest.mark.parametrize("budget", [None, 60])
@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_what_a_search_that_forks_reads_equals_an_uncached_pass(
    engine: TorchLanguageModel, policy: Policy, budget: int | None
) -> None:
    tree = searched(engine, replace(SETTINGS, policy=policy, budget=budget))
    assert budget is None or len(tree) <= budget
    for leaf in tree.rollouts.leaf.tolist():
        if leaf != ROOT:
            expected = reference_logprobs(engine._model, PROMPT, tree.tokens(leaf))
            np.testing.assert_allclose(tree.nodes.logprob[tree.path(leaf)], expected, atol=1e-4)
    if policy.revisits and budget is None:
        assert (tree.rollouts.fork != ROOT).any()


@pytest.mark.parametrize("policy", [ForkingSearch(), MCTS(simulations=4)], ids=repr)
def test_after_a_check_only_what_leads_to_live_or_complete_candidates_is_cached(
    engine: TorchLanguageModel, policy: Policy
) -> None:
    """As the next check finds it: besides these there is what has grown, or was read anew to grow from, since."""
    search = Search(engine, Prompt(PROMPT), replace(SETTINGS, policy=policy, sampling=Sampling(1.0)))
    kept = []
    keep = engine.keep

    def watched(session: Any, leaves: np.ndarray) -> None:
        keep(session, leaves)
        paths = {node for leaf in leaves.tolist() for node in session.tree.path(leaf).tolist()}
        assert engine.statistics.cached_tokens <= len(paths)
        kept.append(len(session.tree) - len(paths))

    engine.keep = watched  # type: ignore[method-assign]
    run(engine, [search])
    assert max(kept) > 20, "nothing was dropped, so that nothing is shown"
