"""Figures of merit of scores against verdicts: pass@k, rankings, calibration, each with its bootstrap over problems.

Everything is a function of W [B, P], the weight of each of P problems in each of B resamples: the first row is all ones, so the
first number is the estimate and the others give its interval. Rollouts count with their multiplicity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

RESAMPLES = 1000
BINS = 10
_LEAST_SCALE = 0.01
_PRIOR = 1e-4
"""Precision of a prior around (1, 0), in units of the mean loss: it decides only where the data cannot (perfect separation)."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95% interval over problems (percentiles of the bootstrap). NaN where it is not defined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    def rounded(self) -> dict[str, float | None]:
        """As JSON has it: four decimals, None for what is not defined."""
        return {name: rounded(number) for name, number in vars(self).items()}


def rounded(number: float) -> float | None:
    return None if np.isnan(number) else round(number, 4)


def problem_weights(problems: int, seed: int = 0, resamples: int = RESAMPLES) -> np.ndarray:
    """W [1 + resamples, problems]: how often each problem was drawn."""
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples)
    return np.vstack([np.ones(problems), drawn])


def estimate(figures: np.ndarray) -> Estimate:
    """figures [B], the first of the data as they are. Resamples in which the figure is not defined are left out."""
    defined = figures[1:][~np.isnan(figures[1:])]
    low, high = np.percentile(defined, [2.5, 97.5]) if len(defined) else (np.nan, np.nan)
    return Estimate(float(figures[0]), float(low), float(high))


def shown(figures: np.ndarray) -> dict[str, float | None]:
    """The estimate of figures [B] as JSON has it."""
    return estimate(figures).rounded()


def ratio(numerator: np.ndarray, denominator: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over problems of `numerator` [P] by that of `denominator` [P], [B]."""
    return divided(weights @ numerator, weights @ denominator)


def divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below [B], NaN where there is nothing below."""
    quotient: np.ndarray = np.divide(above, below, out=np.full(len(below), np.nan), where=below > 0)
    return quotient


def mean_of_defined(figures: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of a figure a problem [P] over the problems that have one, [B]."""
    return ratio(np.nan_to_num(figures), (~np.isnan(figures)).astype(float), weights)


def paired_difference(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> tuple[Estimate, float]:
    """a - b [P] with its interval, and its one-sided lower bound at 95%: each resample takes both of the same problems."""
    drawn = mean_of_defined(a - b, weights)
    defined = drawn[1:][~np.isnan(drawn[1:])]
    return estimate(drawn), float(np.percentile(defined, 5)) if len(defined) else float("nan")


def by_problem(problem: np.ndarray, problems: int, numbers: np.ndarray) -> np.ndarray:
    """Sums of `numbers` [R] for each problem, [P]."""
    return np.bincount(problem, weights=numbers, minlength=problems)


# -- ranking


def auroc(scores: np.ndarray, correct: np.ndarray, counts: np.ndarray, comparable: np.ndarray | None = None) -> float:
    """The share of (correct, wrong) pairs in which the correct one scores higher, ties half. NaN where there is no pair.

    scores, correct, counts [R]; `comparable` [R, R] says which pairs count.
    """
    right, wrong = np.flatnonzero(correct), np.flatnonzero(~correct)
    pairs = counts[right][:, None] * counts[wrong]
    if comparable is not None:
        pairs = pairs * comparable[np.ix_(right, wrong)]
    if not pairs.sum():
        return float("nan")
    difference = scores[right][:, None] - scores[wrong]
    return float((pairs * ((difference > 0) + 0.5 * (difference == 0))).sum() / pairs.sum())


def within_problem(problem: np.ndarray, problems: int, figure: Callable[[np.ndarray], float]) -> np.ndarray:
    """`figure` of the rows of each problem, [P]; NaN for problems without rows."""
    rows = [np.flatnonzero(problem == p) for p in range(problems)]
    return np.asarray([figure(r) if len(r) else np.nan for r in rows])


def global_auroc(scores: np.ndarray, correct: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """AUROC over all pairs, for each row of `mass` [B, R] (counts times the problem's weight), [B]."""
    order = np.argsort(scores, kind="stable")
    _, group = np.unique(scores[order], return_inverse=True)
    edges = np.flatnonzero(np.diff(group, prepend=-1))
    positive = np.add.reduceat(mass[:, order] * correct[order], edges, axis=1)
    negative = np.add.reduceat(mass[:, order] * ~correct[order], edges, axis=1)
    below = negative.cumsum(axis=1) - negative
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    won = (positive * (below + 0.5 * negative)).sum(axis=1)
    return divided(won, pairs)


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimator of Chen et al. 2021 (openai/human-eval): 1 - C(n - c, k) / C(n, k).

    The probability that k of the n samples, drawn without replacement, hold one of the c correct ones. Raises ValueError where
    there are fewer than k samples.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {correct} correct ones among {samples} samples is not defined")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def pass_of_top(scores: np.ndarray, correct: np.ndarray, counts: np.ndarray, k: int, n: int | None = None) -> float:
    """The probability that one of the k highest scoring samples is correct, ties broken at random: of all samples, or of `n` of
    them drawn without replacement. No samples pass nothing.

    scores (NaN comes last), correct, counts [R], of one problem. With equal scores this is `pass_at_k`.
    """
    scores, total = np.where(np.isnan(scores), -np.inf, scores), int(counts.sum())
    if not total:
        return 0.0
    n = total if n is None else min(n, total)
    k = min(k, n)
    after, fails = total, Fraction(0)
    wrong_only = [1] + [0] * (k - 1)  # ways to draw so many samples from the scores seen so far, all of them wrong
    for score in np.unique(scores)[::-1]:
        tied = scores == score
        size, wrong = int(counts[tied].sum()), int(counts[tied & ~correct].sum())
        after -= size
        for drawn, ways in enumerate(wrong_only):
            left = k - drawn
            filling = sum(comb(size, more) * comb(after, n - drawn - more) for more in range(left, min(size, n - drawn) + 1))
            fails += Fraction(ways * filling * comb(wrong, left), comb(size, left)) if filling else 0
        wrong_only = [sum(wrong_only[drawn - more] * comb(wrong, more) for more in range(drawn + 1)) for drawn in range(k)]
    return float(1 - fails / comb(total, n))


# -- calibration
#
# Platt's method (1999), a scale and a shift of the logits, is fitted where values will be used: on independent rollouts of
# validation problems, unfiltered, each counting once (times its multiplicity) over its tokens. Kept trees are a biased
# population, a correct trunk and branches that begin like it.


def brier_skill(
    values: np.ndarray, correct: np.ndarray, counts: np.ndarray, problem: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """1 - Brier score / that of the constant base rate, [B]: 0 for knowing nothing, 1 for knowing all."""
    problems = weights.shape[1]
    error = by_problem(problem, problems, counts * (values - correct) ** 2)
    rate = ratio(by_problem(problem, problems, counts * correct), by_problem(problem, problems, counts), weights)
    brier = ratio(error, by_problem(problem, problems, counts), weights)
    return 1 - divided(brier, rate * (1 - rate))


def calibration_error(
    values: np.ndarray, correct: np.ndarray, counts: np.ndarray, problem: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Expected calibration error over bins of equal width, [B]."""
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    total = weights @ by_problem(problem, weights.shape[1], counts)
    gap = np.zeros(len(weights))
    for b in range(BINS):
        inside = counts * (bins == b)
        gap += np.abs(weights @ by_problem(problem, weights.shape[1], inside * (values - correct)))
    return divided(gap, total)


def fit_platt(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, rising: bool = True) -> tuple[float, float]:
    """(scale, shift) that minimise the weighted cross entropy of sigmoid(scale * logit + shift). Arrays [N], labels in [0, 1].

    `rising`: keep the scale above 0, so that little or bad data can flatten the values but never turn their order around.
    """
    share = weights / weights.sum()

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = parameters
        z = scale * logits + shift
        error = share * (expit(z) - labels)
        loss = (share * cross_entropy(z, labels)).sum() + _PRIOR / 2 * ((scale - 1) ** 2 + shift**2)
        slope = (error * logits).sum() + _PRIOR * (scale - 1)
        return float(loss), np.asarray([slope, error.sum() + _PRIOR * shift])

    bounds = [(_LEAST_SCALE if rising else None, None), (None, None)]
    scale, shift = minimize(objective, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(scale), float(shift)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross entropy of sigmoid(logits), elementwise, in nats. All are of one shape [...]."""
    loss: np.ndarray = np.logaddexp(0, logits) - labels * logits
    return loss


def cross_fitted(scores: np.ndarray, correct: np.ndarray, counts: np.ndarray, problem: np.ndarray) -> np.ndarray:
    """Scores as probabilities: a Platt fit on either half of the problems, applied to the other. The most that a shortcut can
    do. All are [N].
    """
    centred = (scores - scores.mean()) / max(float(scores.std()), 1e-9)
    values = np.empty(len(scores))
    for half in (0, 1):
        own = problem % 2 == half
        if not own.any() or own.all():
            own, other = np.ones(len(scores), bool), np.ones(len(scores), bool)
        else:
            other = ~own
        scale, shift = fit_platt(centred[other], correct[other].astype(float), counts[other].astype(float), rising=False)
        values[own] = 1 / (1 + np.exp(-(scale * centred[own] + shift)))
    return values
