"""Figures of merit against brute force."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.valuemodel import metrics
from guided_gen.valuemodel.metrics import fit_platt

rollouts = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(1, 3)), min_size=1, max_size=6)


def columns(rows: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores, correct, counts = zip(*rows, strict=True)
    return np.asarray(scores, float), np.asarray(correct, bool), np.asarray(counts)


def copies(rows: list[tuple[int, bool, int]]) -> list[tuple[int, bool]]:
    return [(score, correct) for score, correct, count in rows for _ in range(count)]


@given(rollouts)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool, int]]) -> None:
    pairs = [(a[0] > b[0]) + 0.5 * (a[0] == b[0]) for a in copies(rows) for b in copies(rows) if a[1] and not b[1]]
    found = metrics.auroc(*columns(rows))
    assert np.isnan(found) if not pairs else found == pytest.approx(np.mean(pairs))


@given(rollouts)
def test_global_auroc_is_auroc_where_no_problem_is_reweighted(rows: list[tuple[int, bool, int]]) -> None:
    scores, correct, counts = columns(rows)
    found = metrics.global_auroc(scores, correct, counts[None].astype(float))[0]
    assert found == pytest.approx(metrics.auroc(scores, correct, counts), nan_ok=True)


@given(rollouts, st.integers(1, 4))
def test_pass_of_top_is_the_mean_over_all_ways_to_break_ties(rows: list[tuple[int, bool, int]], k: int) -> None:
    samples = copies(rows)[:6]
    single = [(score, correct, 1) for score, correct in samples]
    orders = [sorted(order, key=lambda sample: -sample[0]) for order in permutations(samples)]
    expected = np.mean([any(correct for _, correct in order[:k]) for order in orders])
    assert metrics.pass_of_top(*columns(single), k) == pytest.approx(expected)


@given(rollouts, st.integers(1, 3), st.integers(1, 5))
def test_pass_of_the_top_of_some_is_the_mean_over_all_draws(rows: list[tuple[int, bool, int]], k: int, n: int) -> None:
    samples = copies(rows)[:6]
    single = [(score, correct, 1) for score, correct in samples]
    drawn = [columns(list(chosen)) for chosen in combinations(single, min(n, len(single)))]
    expected = np.mean([metrics.pass_of_top(*chosen, k) for chosen in drawn])
    assert metrics.pass_of_top(*columns(single), k, n) == pytest.approx(expected)


@given(rollouts, st.integers(1, 3))
def test_equal_scores_give_the_unbiased_pass_at_k(rows: list[tuple[int, bool, int]], k: int) -> None:
    labels = [correct for _, correct in copies(rows)]
    k = min(k, len(labels))
    expected = np.mean([any(chosen) for chosen in combinations(labels, k)])
    _, correct, counts = columns(rows)
    assert metrics.pass_of_top(np.zeros(len(rows)), correct, counts, k) == pytest.approx(expected)


@given(rollouts, st.integers(1, 3))
def test_a_multiplicity_is_so_many_rollouts(rows: list[tuple[int, bool, int]], k: int) -> None:
    apart = [(score, correct, 1) for score, correct in copies(rows)]
    for n in (None, 2, 4):
        assert metrics.pass_of_top(*columns(rows), k, n) == pytest.approx(metrics.pass_of_top(*columns(apart), k, n))
    assert metrics.auroc(*columns(rows)) == pytest.approx(metrics.auroc(*columns(apart)), nan_ok=True)


@pytest.mark.parametrize(("samples", "correct"), [(n, c) for n in range(1, 8) for c in range(n + 1)])
def test_pass_at_k_is_the_share_of_all_subsets_with_a_correct_sample(samples: int, correct: int) -> None:
    labels = [True] * correct + [False] * (samples - correct)
    for k in range(1, samples + 1):
        subsets = [any(subset) for subset in combinations(labels, k)]
        assert metrics.pass_at_k(samples, correct, k) == pytest.approx(sum(subsets) / len(subsets))


def test_pass_at_k_needs_k_samples() -> None:
    for samples, correct, k in [(3, 1, 4), (3, 4, 1), (3, 1, 0), (0, 0, 1)]:
        with pytest.raises(ValueError, match="not defined"):
            metrics.pass_at_k(samples, correct, k)


def test_k_best_samples_are_k_copies_of_the_best_answer_where_it_has_so_many() -> None:
    scores, correct, counts = np.asarray([0.9, 0.5]), np.asarray([False, True]), np.asarray([3, 1])
    assert metrics.pass_of_top(scores, correct, counts, 3) == 0 and metrics.pass_of_top(scores, correct, counts, 4) == 1


def test_an_unscored_answer_comes_last_and_no_answers_pass_nothing() -> None:
    assert metrics.pass_of_top(np.asarray([np.nan, -5.0]), np.asarray([True, False]), np.ones(2, int), 1) == 0
    none = np.zeros(0)
    assert metrics.pass_of_top(none, none.astype(bool), none.astype(int), 3) == 0


@given(rollouts, st.integers(1, 4))
def test_a_ranking_by_the_truth_reaches_the_ceiling(rows: list[tuple[int, bool, int]], k: int) -> None:
    _, correct, counts = columns(rows)
    assert metrics.pass_of_top(correct.astype(float), correct, counts, k) == float(correct.any())


def test_a_paired_difference_is_tighter_than_its_parts_and_bounds_hold_the_enumerated_quantiles() -> None:
    a, b = np.asarray([1.0, 0.0, 1.0, 1.0]), np.asarray([1.0, 0.0, 0.0, 1.0])
    weights = metrics.problem_weights(4, resamples=20_000)

    def mean(figures: np.ndarray) -> metrics.Estimate:
        return metrics.estimate(metrics.mean_of_defined(figures, weights))

    difference, least = metrics.paired_difference(a, b, weights)
    resamples = [np.mean([a[i] - b[i] for i in drawn]) for drawn in product(range(4), repeat=4)]
    assert difference.value == 0.25
    assert least == np.percentile(resamples, 5)
    assert (difference.low, difference.high) == tuple(np.percentile(resamples, [2.5, 97.5]))
    parts = mean(a).high - mean(b).low
    assert difference.high - difference.low < parts
    assert metrics.paired_difference(a, a, weights)[1] == 0


def made_up(seed: int = 0, problems: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """values, correct, counts, problem: calibrated by construction."""
    rng = np.random.default_rng(seed)
    problem = np.repeat(np.arange(problems), 40)
    values = rng.uniform(0, 1, len(problem))
    return values, rng.uniform(0, 1, len(problem)) < values, rng.integers(1, 4, len(problem)), problem


def test_calibrated_values_have_skill_and_no_calibration_error() -> None:
    values, correct, counts, problem = made_up(problems=200)
    weights = metrics.problem_weights(200, resamples=50)
    assert metrics.brier_skill(values, correct, counts, problem, weights)[0] == pytest.approx(1 / 3, abs=0.03)
    assert metrics.calibration_error(values, correct, counts, problem, weights)[0] < 0.02


def test_a_constant_has_no_skill_although_it_is_calibrated() -> None:
    _, correct, counts, problem = made_up()
    constant = np.full(len(correct), np.average(correct, weights=counts))
    weights = metrics.problem_weights(30, resamples=50)
    assert metrics.brier_skill(constant, correct, counts, problem, weights)[0] == pytest.approx(0, abs=1e-9)
    assert metrics.calibration_error(constant, correct, counts, problem, weights)[0] == pytest.approx(0, abs=1e-9)


def test_intervals_narrow_with_more_problems() -> None:
    widths = []
    for problems in (20, 320):
        values, correct, counts, problem = made_up(problems=problems)
        found = metrics.estimate(
            metrics.brier_skill(values, correct, counts, problem, metrics.problem_weights(problems, resamples=400))
        )
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < 0.7 * widths[0]


def test_cross_fitted_scores_are_calibrated_whatever_their_scale() -> None:
    values, correct, counts, problem = made_up(problems=100)
    scaled = metrics.cross_fitted(1000 * np.log(values / (1 - values)) - 7, correct, counts, problem)
    weights = metrics.problem_weights(100, resamples=10)
    assert metrics.calibration_error(scaled, correct, counts, problem, weights)[0] < 0.03
    assert np.array_equal(np.argsort(scaled[problem % 2 == 0]), np.argsort(values[problem % 2 == 0]))


@given(st.floats(0.3, 3), st.floats(-2, 2))
def test_platt_finds_scale_and_shift(scale: float, shift: float) -> None:
    logits = np.linspace(-4, 4, 400)
    labels = 1 / (1 + np.exp(-(scale * logits + shift)))
    found = fit_platt(logits, labels, np.ones(400))
    assert found == pytest.approx((scale, shift), abs=0.02 + 0.02 * abs(shift))


def test_platt_never_turns_the_order_around_unless_it_may() -> None:
    logits, labels = np.linspace(-2, 2, 50), np.linspace(1, 0, 50)
    assert fit_platt(logits, labels, np.ones(50))[0] > 0 > fit_platt(logits, labels, np.ones(50), rising=False)[0]


def test_platt_is_finite_for_separable_labels() -> None:
    logits = np.asarray([-1.0, 1.0])
    assert np.isfinite(fit_platt(logits, np.asarray([0.0, 1.0]), np.ones(2))).all()
