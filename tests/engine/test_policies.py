"""Policies on made-up trees: no model needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.engine.policies import (
    POLICIES,
    Beam,
    BestOfN,
    EarlyStop,
    Policy,
    PolicyError,
    SpeculativeRejection,
    View,
    policy_named,
)

ALL = [
    BestOfN(),
    EarlyStop(0.4),
    EarlyStop(slack=0.2),
    EarlyStop(lambda depth: depth / 10),
    Beam(2),
    Beam(50),
    SpeculativeRejection(0.6),
]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Random trees with live and finished samples at leaves; some values missing, some equal."""
    size = draw(st.integers(1, 12))
    parent = [draw(st.integers(-1, node - 1)) for node in range(size)]
    leaves = sorted(set(range(size)) - set(parent))
    live, finished = np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    for leaf in leaves:
        (live if draw(st.booleans()) else finished)[leaf] = draw(st.integers(1, 3))
    depth = [0] * (size + 1)
    for node in range(size):
        depth[node] = depth[parent[node]] + 1
    value = [draw(st.sampled_from([0.1, 0.35, 0.5, 0.9, np.nan])) for _ in range(size)] + [np.nan]
    tie = np.random.default_rng(draw(st.integers(0, 99))).permutation(size + 1) / (size + 1)
    return View(
        parent=np.asarray([*parent, -1]),
        depth=np.asarray(depth),
        logprob=np.zeros(size + 1),
        value=np.asarray(value),
        live=live,
        finished=finished,
        tie=tie,
        population=int(live.sum() + finished.sum()),
    )


def permuted(view: View, order: np.ndarray) -> View:
    """The same tree with node `order[i]` in place i (the root stays last); parents need not come first here."""
    place = np.append(np.argsort(order), -1)
    full = np.append(order, len(order))
    return View(
        parent=place[view.parent[full]],
        depth=view.depth[full],
        logprob=view.logprob[full],
        value=view.value[full],
        live=view.live[full],
        finished=view.finished[full],
        tie=view.tie[full],
        population=view.population,
    )


@pytest.mark.parametrize("policy", ALL, ids=repr)
@given(view=views())
def test_someone_always_survives_and_only_live_leaves_grow(policy: Policy, view: View) -> None:
    children = policy(view)
    assert children.shape == view.live.shape and (children >= 0).all()
    assert not children[view.live == 0].any()
    if view.live.any() and not view.finished.any():
        assert children.any()
    assert children.sum() + view.finished.sum() <= max(view.population, view.finished.sum() + 1)


@pytest.mark.parametrize("policy", ALL, ids=repr)
@given(view=views(), seed=st.integers(0, 99))
def test_the_order_of_candidates_changes_nothing(policy: Policy, view: View, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(view.live) - 1)
    assert policy(permuted(view, order)).tolist() == policy(view)[np.append(order, len(order))].tolist()


def leaves_with(values: list[float], finished: list[float] = (), population: int | None = None) -> View:  # type: ignore[assignment]
    """Single-token candidates: live ones with `values`, then finished ones."""
    size = len(values) + len(finished)
    return View(
        parent=np.full(size + 1, -1),
        depth=np.append(np.ones(size, np.int64), 0),
        logprob=np.zeros(size + 1),
        value=np.asarray([*values, *finished, np.nan]),
        live=np.asarray([1] * len(values) + [0] * (len(finished) + 1)),
        finished=np.asarray([0] * len(values) + [1] * len(finished) + [0]),
        tie=np.linspace(0, 0.9, size + 1),
        population=size if population is None else population,
    )


def test_a_beam_shares_the_population_among_the_best() -> None:
    assert Beam(2)(leaves_with([0.1, 0.9, 0.5, 0.3, 0.2])).tolist() == [0, 3, 2, 0, 0, 0]


def test_a_beam_leaves_room_for_finished_candidates() -> None:
    assert Beam(2)(leaves_with([0.1, 0.9, 0.5], finished=[0.2, 0.3])).tolist() == [0, 2, 1, 0, 0, 0]


def test_early_stop_by_threshold_by_depth_and_by_distance_to_the_best() -> None:
    view = leaves_with([0.1, 0.5, 0.8], finished=[0.95])
    assert EarlyStop(0.3)(view).tolist() == [0, 1, 1, 0, 0]
    assert EarlyStop(lambda depth: 0.6 * depth)(view).tolist() == [0, 0, 1, 0, 0]
    assert EarlyStop(slack=0.2)(view).tolist() == [0, 0, 1, 0, 0]


def test_speculative_rejection_drops_the_lowest_fraction_of_samples() -> None:
    assert SpeculativeRejection(0.5)(leaves_with([0.4, 0.1, 0.3, 0.2])).tolist() == [1, 0, 1, 0, 0]


def test_equal_values_are_told_apart_by_the_tie_alone() -> None:
    view = leaves_with([0.5, 0.5, 0.5])
    assert Beam(1)(view).tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_named(name: str) -> None:
    assert type(policy_named(name)) is POLICIES[name]


def test_a_policy_is_named_with_its_settings() -> None:
    assert policy_named("beam:width=7") == Beam(7)
    assert policy_named("early-stop:threshold=0.2,slack=0.5") == EarlyStop(0.2, 0.5)


@pytest.mark.parametrize("text", ["greedy", "beam:height=3", "beam:width=x", "beam:width=0", "speculative-rejection:alpha=1"])
def test_senseless_policies_are_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        policy_named(text)
