"""Fitting the threshold of early stop: a curve over the number of generated tokens that loses a chosen share of correct rollouts.

A rollout is lost if its value is below the curve at *any* check before its end. The curve is one of a family: in logits, the
median of the values of correct rollouts at each check, less a level times the distance from the 10% quantile up to it. The level
is the only number that is tuned, so there is little to overfit. Every problem counts the same, shared by its correct rollouts.

The level is found by conformal risk control (Angelopoulos et al., "Conformal risk control", 2022): it is the lowest at which
(n L + 1) / (n + 1) is at most the target, L being the mean over the n problems of the share lost, each under a family that was
fitted to other problems (folds). So the share that a *new* problem loses is at most the target in expectation. The figures
reported beside it are cross-validated once more, around the choice of the level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from ..engine.tree import ROOT, Tree
from .made_for import ValueModelError
from .targets import outcomes

_FOLDS = 5
_FEWEST = 10
"""Problems with correct rollouts that are still going on, for the curve to have a point there. It is level after the last one."""
_LEAST_PROBLEMS = 20
"""With correct rollouts: less cannot be parted into folds twice."""
_LEAST_SPREAD = 0.05
_HIGHEST_LEVEL = 1024.0
_NEVER = -np.inf


@dataclass(frozen=True)
class TracedRollouts:
    """R independent rollouts of P problems with their values at C checks.

    checks [C], tokens; problem [R], numbers from 0 to P - 1; counts [R], multiplicities; correct [R], bool; lengths [R], tokens;
    values [R, C], NaN where the rollout had ended.
    """

    checks: np.ndarray
    problem: np.ndarray
    counts: np.ndarray
    correct: np.ndarray
    lengths: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, trees: Sequence[Tree], check_every: int) -> TracedRollouts:
        """The judged independent rollouts of trees whose nodes have values, one tree a problem.

        Raises ValueModelError where there are none, values are missing, or a tree has forks: its trunk was chosen for being
        correct.
        """
        for tree in trees:
            if (tree.rollouts.fork != ROOT).any():
                raise ValueModelError(
                    f"the tree of {tree.metadata.get('problem', '?')} is no pool of independent rollouts; "
                    "see guided-gen build --independent"
                )
        found = [outcomes(tree) for tree in trees]
        longest = max((int(tree.depth.max()) for tree in trees if len(tree)), default=0)
        checks = np.arange(check_every, longest, check_every)
        rows: list[np.ndarray] = []
        for tree, judged in zip(trees, found, strict=True):
            for leaf in judged.leaves.tolist():
                values = tree.nodes.value[tree.path(leaf)].astype(np.float64)
                if np.isnan(values).any():
                    raise ValueModelError(f"rollouts of {tree.metadata.get('problem', '?')} have no values")
                asked = checks[checks < len(values)]
                rows.append(np.append(values[asked - 1], np.full(len(checks) - len(asked), np.nan)))
        if not rows or not len(checks):
            raise ValueModelError(f"there are no judged independent rollouts longer than {check_every} tokens")
        lengths = [tree.depth[judged.leaves] for tree, judged in zip(trees, found, strict=True)]
        return cls(
            checks=checks,
            problem=np.repeat(np.arange(len(trees)), [len(judged.rows) for judged in found]),
            counts=np.concatenate([judged.counts for judged in found]),
            correct=np.concatenate([judged.correct for judged in found]),
            lengths=np.concatenate(lengths).astype(np.int64),
            values=np.asarray(rows),
        )

    def of_problems(self, chosen: np.ndarray) -> TracedRollouts:
        """Those of the problems in `chosen`."""
        kept = np.isin(self.problem, chosen)
        rows = (getattr(self, name)[kept] for name in ("problem", "counts", "correct", "lengths", "values"))
        return TracedRollouts(self.checks, *rows)

    @property
    def solved(self) -> np.ndarray:
        """The problems with correct rollouts, those that a curve can be fitted to."""
        return np.unique(self.problem[self.correct])

    def lost(self, thresholds: np.ndarray) -> np.ndarray:
        """Which rollouts are below `thresholds` [C] at any check, [R]."""
        below: np.ndarray = np.any(self.values < thresholds, axis=1)
        return below


@dataclass(frozen=True)
class CurveFamily:
    """tokens [K]; median, spread [K], of logits. `values` of a level are thresholds; a higher level stops less."""

    tokens: np.ndarray
    median: np.ndarray
    spread: np.ndarray

    @classmethod
    def fitted(cls, rollouts: TracedRollouts) -> CurveFamily:
        """Raises ValueModelError where there are too few problems with correct rollouts."""
        right = rollouts.of_problems(rollouts.solved)
        weight = _shares(right)
        medians, spreads = [], []
        for column in right.values.T:
            going = right.correct & ~np.isnan(column)
            if len(np.unique(right.problem[going])) < _FEWEST:
                break
            values = logit(np.clip(column[going], 1e-6, 1 - 1e-6))
            low, middle = (_quantile(values, weight[going], share) for share in (0.1, 0.5))
            medians.append(middle)
            spreads.append(max(middle - low, _LEAST_SPREAD))
        if not medians:
            raise ValueModelError(
                f"{len(rollouts.solved)} problems have correct rollouts; a curve takes at least {_FEWEST} that are longer than "
                f"{rollouts.checks[0]} tokens"
            )
        return cls(rollouts.checks[: len(medians)], np.asarray(medians), np.asarray(spreads))

    def values(self, level: float) -> np.ndarray:
        """The thresholds at `tokens`, [K]."""
        thresholds: np.ndarray = expit(self.median - level * self.spread)
        return thresholds

    def at_checks(self, level: float, checks: int) -> np.ndarray:
        """The thresholds at the first `checks` checks: those at `tokens`, then the last one."""
        own = self.values(level)
        return np.append(own, np.full(checks - len(own), own[-1]))


def fit_early_stop(rollouts: TracedRollouts, lost: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """One curve for each share in `lost` of correct rollouts that may be lost, and what it does to problems it was not fitted to.

    Raises ValueModelError where a share is not between 0 and 1 or there are too few problems for it.
    """
    solved = len(rollouts.solved)
    if solved < _LEAST_PROBLEMS:
        raise ValueModelError(f"a fit takes at least {_LEAST_PROBLEMS} problems with correct rollouts, not {solved}")
    for target in lost:
        if not 0 < target < 1:
            raise ValueModelError(f"the share of correct rollouts that may be lost is between 0 and 1, not {target:g}")
        if (needed := int(np.ceil(1 / target - 1e-9)) - 1) > solved:
            raise ValueModelError(f"a share of {target:g} takes at least {needed} problems with correct rollouts, not {solved}")
    family = CurveFamily.fitted(rollouts)
    curves = []
    for target in sorted(lost):
        level = _level(rollouts, target, seed)
        honest = np.empty((len(rollouts.values), rollouts.values.shape[1]))
        for inside, outside in _folds(rollouts, seed + 1):
            honest[np.isin(rollouts.problem, outside)] = _thresholds(rollouts.of_problems(inside), target, seed)
        curves.append(
            {
                "lost": target,
                "level": level,
                "tokens": family.tokens.tolist(),
                "values": family.values(level).tolist(),
                "fitted": _figures(rollouts, family.at_checks(level, len(rollouts.checks))),
                "cross_validated": _figures(rollouts, honest),
            }
        )
    return {
        "check_every": int(rollouts.checks[0]),
        "problems": len(np.unique(rollouts.problem)),
        "problems_with_correct": solved,
        "rollouts": int(rollouts.counts.sum()),
        "curves": curves,
    }


def _level(rollouts: TracedRollouts, target: float, seed: int) -> float:
    """The lowest level that keeps the promise, by bisection: fewer rollouts are lost as it rises."""
    parts = []
    for inside, outside in _folds(rollouts, seed):
        held_out = rollouts.of_problems(outside)
        parts.append((held_out, _shares(held_out), CurveFamily.fitted(rollouts.of_problems(inside))))
    solved, checks = len(rollouts.solved), len(rollouts.checks)

    def kept(level: float) -> bool:
        total = sum(float(share[part.lost(family.at_checks(level, checks))].sum()) for part, share, family in parts)
        return (total + 1) / (solved + 1) <= target + 1e-12

    return _lowest(kept)


def _lowest(kept: Callable[[float], bool]) -> float:
    low, high = 0.0, _HIGHEST_LEVEL
    if kept(low):
        return low
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return high


def _thresholds(rollouts: TracedRollouts, target: float, seed: int) -> np.ndarray:
    """What the whole fit gives for these rollouts, at the checks; nothing stops where they are too few."""
    if (len(rollouts.solved) + 1) * target < 1 - 1e-9:
        return np.full(len(rollouts.checks), _NEVER)
    level = _level(rollouts, target, seed)
    return CurveFamily.fitted(rollouts).at_checks(level, len(rollouts.checks))


def _folds(rollouts: TracedRollouts, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(the other problems, the problems of the fold), for each of the folds; those with correct rollouts are dealt evenly."""
    rng = np.random.default_rng(seed)
    problems = np.unique(rollouts.problem)
    solved = np.isin(problems, rollouts.solved)
    fold = np.empty(len(problems), np.int64)
    for group in (solved, ~solved):
        fold[group] = rng.permutation(int(group.sum())) % _FOLDS
    return [(problems[fold != number], problems[fold == number]) for number in range(_FOLDS)]


def _figures(rollouts: TracedRollouts, thresholds: np.ndarray) -> dict[str, float]:
    """correct_lost: the mean over problems of the share of their correct rollouts that is lost; problems_lost: the share of the
    problems with correct rollouts that lose them all; wrong_stopped: the share of the wrong rollouts that is stopped;
    tokens_saved: of all tokens, rollout by rollout (shared prefixes count as often as they are drawn).
    """
    lost, share = rollouts.lost(thresholds), _shares(rollouts)
    shares = np.bincount(rollouts.problem, share * lost, int(rollouts.problem.max()) + 1)[rollouts.solved]
    wrong = rollouts.counts * ~rollouts.correct
    stopped = rollouts.checks[np.argmax(rollouts.values < thresholds, axis=1)]
    saved = np.where(lost, rollouts.lengths - stopped, 0)
    return {
        "correct_lost": float(shares.mean()),
        "problems_lost": float((shares > 1 - 1e-9).mean()),
        "wrong_stopped": float((wrong * lost).sum() / max(wrong.sum(), 1)),
        "tokens_saved": float((rollouts.counts * saved).sum() / (rollouts.counts * rollouts.lengths).sum()),
    }


def _shares(rollouts: TracedRollouts) -> np.ndarray:
    """Each correct rollout's share of its problem's correct ones, [R]; 0 for wrong ones."""
    right = rollouts.counts * rollouts.correct
    totals = np.bincount(rollouts.problem, right)
    return right / np.maximum(totals[rollouts.problem], 1)


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The smallest value with at least `share` of the weight at or below it."""
    order = np.argsort(values)
    passed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(passed, share * passed[-1])])
