"""The estimators against brute-force enumeration."""

from __future__ import annotations

from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.benchmarks.passk import mean_over_problems, paired_difference, pass_at_k, passes, ranked_pass
from guided_gen.valuemodel.metrics import pass_of_top, problem_weights


@pytest.mark.parametrize(("samples", "correct"), [(n, c) for n in range(1, 8) for c in range(n + 1)])
def test_pass_at_k_is_the_share_of_all_subsets_with_a_correct_sample(samples: int, correct: int) -> None:
    labels = [True] * correct + [False] * (samples - correct)
    for k in range(1, samples + 1):
        subsets = [any(subset) for subset in combinations(labels, k)]
        assert pass_at_k(samples, correct, k) == pytest.approx(sum(subsets) / len(subsets))


def test_pass_at_k_needs_k_samples() -> None:
    for samples, correct, k in [(3, 1, 4), (3, 4, 1), (3, 1, 0), (0, 0, 1)]:
        with pytest.raises(ValueError, match="not defined"):
            pass_at_k(samples, correct, k)


def test_all_distinct_answers_beside_their_multiplicities_give_the_same() -> None:
    scores, correct = np.asarray([0.2, 0.9, 0.5]), np.asarray([True, False, True])
    counts, tie = np.asarray([2, 1, 3]), np.asarray([0.1, 0.2, 0.3])
    each = np.repeat(np.arange(3), counts)
    apart = passes(scores[each], correct[each], np.ones(6, int), np.arange(6) / 6, (1, 2, 3))
    assert passes(scores, correct, counts, tie, (1, 2, 3)) == apart
    assert apart.ranked == {1: 0.0, 2: 1.0, 3: 1.0} and apart.oracle == 1


def test_k_best_samples_are_k_copies_of_the_best_answer_where_it_has_so_many() -> None:
    scores, correct, counts = np.asarray([0.9, 0.5]), np.asarray([False, True]), np.asarray([3, 1])
    assert not ranked_pass(scores, correct, counts, np.asarray([0.1, 0.2]), 3)
    assert ranked_pass(scores, correct, counts, np.asarray([0.1, 0.2]), 4)


def test_an_unscored_answer_comes_last_and_no_answers_pass_nothing() -> None:
    assert not ranked_pass(np.asarray([np.nan, -5.0]), np.asarray([True, False]), np.ones(2, int), np.asarray([0.1, 0.2]), 1)
    none = np.zeros(0)
    assert passes(none, none.astype(bool), none.astype(int), none).ranked == {1: 0.0, 3: 0.0}


@given(
    scores=st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=1, max_size=5),
    labels=st.integers(0, 31),
    k=st.integers(1, 5),
)
def test_the_mean_over_all_ties_is_the_expectation(scores: list[float], labels: int, k: int) -> None:
    """With the samples in every order, ties by seed average to `pass_of_top`, which computes the expectation in closed form."""
    size, k = len(scores), min(k, len(scores))
    correct = np.asarray([bool(labels >> i & 1) for i in range(size)])
    found = [
        ranked_pass(np.asarray(scores), correct, np.ones(size, int), np.asarray(tie), k) for tie in permutations(range(size))
    ]
    assert np.mean(found) == pytest.approx(pass_of_top(np.asarray(scores), correct, np.ones(size, int), k))


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 3)), min_size=1, max_size=6), st.integers(1, 4))
def test_a_ranking_by_the_truth_reaches_the_ceiling(answers: list[tuple[float, bool, int]], k: int) -> None:
    tie, correct, counts = (np.asarray(column) for column in zip(*answers, strict=True))
    truthful = passes(correct.astype(float), correct, counts, tie, (k,))
    assert truthful.ranked[k] == truthful.oracle
    assert truthful.random[k] <= truthful.oracle


def test_a_paired_difference_is_tighter_than_its_parts_and_bounds_hold_the_enumerated_quantiles() -> None:
    a, b = np.asarray([1.0, 0.0, 1.0, 1.0]), np.asarray([1.0, 0.0, 0.0, 1.0])
    weights = problem_weights(4, resamples=20_000)
    difference = paired_difference(a, b, weights)
    resamples = [np.mean([a[i] - b[i] for i in drawn]) for drawn in product(range(4), repeat=4)]
    assert difference.interval.value == 0.25
    assert difference.least == np.percentile(resamples, 5)
    assert (difference.interval.low, difference.interval.high) == tuple(np.percentile(resamples, [2.5, 97.5]))
    parts = mean_over_problems(a, weights).high - mean_over_problems(b, weights).low
    assert difference.interval.high - difference.interval.low < parts
    assert paired_difference(a, a, weights).least == 0
