"""What holds for every policy, on made-up trees and in whole searches with a made-up model; and the policies that only prune."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policies import (
    Beam,
    BestOfN,
    EarlyStop,
    Policy,
    SpeculativeRejection,
    ThresholdCurve,
    View,
)
from guided_gen.engine.scorers import mean_logprob, value
from guided_gen.engine.search import Search, SearchSettings, advance_round, run
from guided_gen.engine.tree import Ended
from guided_gen.engine.tree_policies import DVTS, MCTS, REBASE, ForkingSearch, ParticleFilter

from .made_up import MadeUpModel, leaves_with, permuted, views

ALL = [
    BestOfN(),
    EarlyStop(0.4),
    EarlyStop(slack=0.2),
    EarlyStop(ThresholdCurve((2, 4), (0.2, 0.6))),
    Beam(2),
    Beam(50),
    SpeculativeRejection(0.6),
    DVTS(1, 2),
    DVTS(3),
    REBASE(),
    REBASE(5.0),
    ParticleFilter(0.3),
    ForkingSearch(),
    ForkingSearch(0.5, unlikely=0.1, total=4.0),
    MCTS(),
    MCTS(0.2, simulations=3),
]
every_policy = pytest.mark.parametrize("policy", ALL, ids=repr)


@every_policy
@given(view=views())
def test_someone_always_survives_and_only_what_may_grow_grows(policy: Policy, view: View) -> None:
    children = policy(view)
    assert children.shape == view.live.shape and (children >= 0).all()
    assert not children[view.finished > 0].any()
    if not policy.revisits:
        assert not children[view.live == 0].any()
    if view.live.any() and not view.finished.any():
        assert children.any()
    assert children.sum() <= max(view.population, view.live.sum())


@every_policy
@given(view=views(), seed=st.integers(0, 99))
def test_the_order_of_candidates_changes_nothing(policy: Policy, view: View, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(view.live) - 1)
    expected = policy(view)
    assert policy(permuted(view, order)).tolist() == expected[np.append(order, len(order))].tolist()
    assert policy(view).tolist() == expected.tolist()  # nor does having been asked before


@every_policy
@given(
    n=st.integers(1, 6),
    budget=st.sampled_from([None, 1, 7, 40, 150]),
    check_every=st.integers(1, 5),
    lines=st.booleans(),
    seed=st.integers(-3, 3),
    few_tokens=st.booleans(),
)
def test_a_search_ends_within_its_budget_and_bounds_its_samples(
    policy: Policy, n: int, budget: int | None, check_every: int, lines: bool, seed: int, few_tokens: bool
) -> None:
    """`few_tokens`: nearly every sample repeats known tokens, which no budget counts."""
    settings = SearchSettings(
        n=n,
        max_new_tokens=12,
        policy=policy,
        scorer=mean_logprob if few_tokens else value,
        check_every=check_every,
        line_ends=frozenset([2]) if lines else frozenset(),
        budget=budget,
        seed=seed,
        stop_ids=frozenset([0]),
    )
    model = MadeUpModel(probabilities=(lambda tokens: (0.02, 0.98, 0, 0)) if few_tokens else None)
    search = Search(model, Prompt([1, 2]), settings)
    begun = []
    while not search.done:
        advance_round(model, [search])
        begun.append(search.view().begun)
        assert len(search.live) <= n
        assert budget is None or len(search.tree) <= budget
    most = {ForkingSearch: getattr(policy, "total", 1), MCTS: getattr(policy, "simulations", 1)}.get(type(policy))
    if most is not None:
        assert begun[-1] <= most * n
    ended = {Ended(kind) for kind in search.tree.rollouts.ended.tolist()}
    assert ended & {Ended.EOS, Ended.LENGTH} or (budget is not None and len(search.tree) > budget - n)


def run_one_round(model: MadeUpModel, search: Search) -> None:
    from guided_gen.engine.search import advance_round

    advance_round(model, [search])


@every_policy
def test_the_seed_alone_decides_a_search_of_equal_values(policy: Policy) -> None:
    model = MadeUpModel(value=lambda tokens: 0.5)

    def leaves(seed: int) -> list[list[int]]:
        settings = SearchSettings(n=4, max_new_tokens=12, policy=policy, scorer=value, check_every=3, seed=seed)
        search = Search(model, Prompt([1, 2]), settings)
        run(model, [search])
        return [search.tree.tokens(leaf).tolist() for leaf in search.tree.rollouts.leaf.tolist()]

    assert leaves(1) == leaves(1) != leaves(2)


def test_a_beam_shares_the_population_among_the_best() -> None:
    assert Beam(2)(leaves_with([0.1, 0.9, 0.5, 0.3, 0.2])).tolist() == [0, 3, 2, 0, 0, 0]


def test_a_beam_leaves_room_for_finished_candidates() -> None:
    assert Beam(2)(leaves_with([0.1, 0.9, 0.5], finished=[0.2, 0.3])).tolist() == [0, 2, 1, 0, 0, 0]


def test_early_stop_by_threshold_by_depth_and_by_distance_to_the_best() -> None:
    view = leaves_with([0.1, 0.5, 0.8], finished=[0.95])
    assert EarlyStop(0.3)(view).tolist() == [0, 1, 1, 0, 0]
    assert EarlyStop(lambda depth: 0.6 * depth)(view).tolist() == [0, 0, 1, 0, 0]
    assert EarlyStop(slack=0.2)(view).tolist() == [0, 0, 1, 0, 0]
    assert EarlyStop(slack=0.2)(leaves_with([0.1, np.nan, 0.8])).tolist() == [0, 1, 1, 0]
    assert EarlyStop(0.9)(leaves_with([0.1, 0.5, 0.8])).tolist() == [0, 0, 1, 0]


def test_a_stopped_candidate_is_no_measure_for_the_others() -> None:
    dropped = leaves_with([0.1, 0.5, 0.99], live=np.asarray([1, 1, 0, 0]), dropped=np.asarray([0, 0, 1, 0]))
    assert EarlyStop(slack=0.4)(dropped).tolist() == [1, 1, 0, 0]


def test_a_threshold_curve_is_straight_between_its_points_and_stops_nothing_before_them() -> None:
    curve = ThresholdCurve((10, 20, 40), (0.1, 0.3, 0.2))
    assert curve(np.asarray([1, 9, 10, 15, 20, 30, 40, 400])).tolist() == pytest.approx(
        [-np.inf, -np.inf, 0.1, 0.2, 0.3, 0.25, 0.2, 0.2]
    )
    for tokens, values in ((), ()), ((1, 2), (0.5,)), ((2, 2), (0.5, 0.6)):
        with pytest.raises(SettingsError):
            ThresholdCurve(tokens, values)


def test_values_of_complete_answers_count_at_the_next_check() -> None:
    """The first token decides: after 0 the answer ends, worth 1; the others are worth nothing."""
    model = MadeUpModel(probabilities=lambda tokens: (0.5, 0.5), vocabulary=2, value=lambda tokens: float(tokens[0] == 0))
    settings = SearchSettings(
        n=8, max_new_tokens=9, policy=EarlyStop(slack=0.5), scorer=value, check_every=2, stop_ids=frozenset([0])
    )
    search = Search(model, Prompt([1]), settings)
    run(model, [search])
    ended = {int(search.tree.depth_of(leaf)) for leaf in search.tree.rollouts.leaf.tolist()}
    assert max(ended) == 2


def test_speculative_rejection_drops_the_lowest_fraction_of_samples() -> None:
    assert SpeculativeRejection(0.5)(leaves_with([0.4, 0.1, 0.3, 0.2])).tolist() == [1, 0, 1, 0, 0]


def test_equal_values_are_told_apart_by_the_tie_alone() -> None:
    view = leaves_with([0.5, 0.5, 0.5])
    assert Beam(1)(view).tolist() == [3, 0, 0, 0]
