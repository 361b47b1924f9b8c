"""pass@k of samples drawn blindly and of ranked ones, and how two ways compare over problems.

A sample is one draw: an answer that was drawn m times counts m times. `random` is the floor of every ranking (pass@k of the same
samples in a random order) and `oracle` its ceiling (whether any is correct).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from ..valuemodel.metrics import Estimate, estimate, mean_of_defined


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimator of Chen et al. 2021 (openai/human-eval): 1 - C(n - c, k) / C(n, k).

    The probability that k of the n samples, drawn without replacement, hold one of the c correct ones. Raises ValueError where
    there are fewer than k samples.
    """
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {correct} correct ones among {samples} samples is not defined")
    return 1 - comb(samples - correct, k) / comb(samples, k)


def ranked_pass(scores: np.ndarray, correct: np.ndarray, counts: np.ndarray, tie: np.ndarray, k: int) -> bool:
    """Whether one of the k best samples is correct; NaN scores come last, equal ones in the order of `tie`, the lowest first.

    scores, correct (bool), counts, tie [R], of the R answers of one problem; `tie` are distinct numbers that depend on the seed.
    """
    order = np.lexsort((tie, -np.nan_to_num(scores, nan=-np.inf)))
    order = order[counts[order] > 0]
    before = np.cumsum(counts[order]) - counts[order]
    return bool(correct[order][before < k].any())


@dataclass(frozen=True)
class Passes:
    """What one set of samples gives: pass@k of the ranking, by k, and of its floor and ceiling."""

    ranked: dict[int, float]
    random: dict[int, float]
    oracle: float

    def figures(self) -> dict[str, float]:
        """pass@k, random@k and oracle by name."""
        ranked = {f"pass@{k}": share for k, share in self.ranked.items()}
        return ranked | {f"random@{k}": share for k, share in self.random.items()} | {"oracle": self.oracle}


def passes(scores: np.ndarray, correct: np.ndarray, counts: np.ndarray, tie: np.ndarray, ks: tuple[int, ...] = (1, 3)) -> Passes:
    """All figures of one problem's answers. Arrays as in `ranked_pass`; with fewer than k samples, all of them are taken."""
    total, right = int(counts.sum()), int(counts[correct].sum())
    return Passes(
        ranked={k: float(ranked_pass(scores, correct, counts, tie, k)) for k in ks},
        random={k: pass_at_k(total, right, min(k, total)) if total else 0.0 for k in ks},
        oracle=float(right > 0),
    )


@dataclass(frozen=True)
class Difference:
    """a - b with its 95% interval; `least` is what a - b is not below, one-sided, at 95%."""

    interval: Estimate
    least: float


def mean_over_problems(figures: np.ndarray, weights: np.ndarray) -> Estimate:
    """The mean of figures [P] and its interval; `weights` as `valuemodel.metrics.problem_weights` draws them."""
    return estimate(mean_of_defined(figures, weights))


def paired_difference(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> Difference:
    """The paired bootstrap: each resample draws problems, and takes a and b [P] of the same ones."""
    drawn = mean_of_defined(a - b, weights)
    defined = drawn[1:][~np.isnan(drawn[1:])]
    return Difference(estimate(drawn), float(np.percentile(defined, 5)) if len(defined) else float("nan"))
