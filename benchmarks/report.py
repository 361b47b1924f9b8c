"""The figures of a report: a pure function of stored lines. The same lines give the same figures, to the last digit.

For each set of problems and each arm: pass@1 and pass@3 of its ranking, the ceiling (oracle), costs, the paired differences to
best-of-n, and the lead over best-of-n's curve of pass@1 against cost. A policy counts as better only where it leads on every
cost. Intervals are bootstrapped over problems.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..valuemodel.metrics import (
    RESAMPLES,
    mean_of_defined,
    paired_difference,
    pass_at_k,
    problem_weights,
    ratio,
    rounded,
    shown,
)
from .arms import BEST_OF_N
from .readings import COSTS, FULL, RANDOM, ArmKey, Independent, Reading, independent_samples, readings_of
from .replay import RANKS
from .results import Results

LOGPROB = "logprob"
AXES = {"replay": ("tokens", "steps"), "judged": ("tokens", "seconds")}
"""The costs on which a policy has to lead, by the kind of the run."""
MIXED_NEEDED = 6
"""With fewer problems on which arms can differ at all, winning every one of them is no evidence: 2 / 2 ** 5 is above 5%."""
POOL_KS = (1, 2, 3, 5, 8, 10, 16, 32, 64)


def figures(results: Results, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, Any]:
    """All figures as plain JSON types. Raises DataError where the lines are of no such kind."""
    readings, samples = readings_of(results), independent_samples(results)
    kind = results.run["kind"]
    tables = []
    for title, chosen in groups(readings):
        problems = sorted({reading.problem for reading in chosen})
        drawn = problem_weights(len(problems), seed, resamples)
        of_these = [one for one in samples if one.problem in set(problems)]
        tables.append(_Group(title, chosen, problems, drawn, AXES[kind], COSTS[kind]).table() | _independent(of_these, drawn))
    skipped = {line["problem"]: line["skipped"] for line in results.lines if "skipped" in line}
    return {
        "run": results.run,
        "axes": list(AXES[kind]),
        "costs": list(COSTS[kind]),
        "skipped": dict(sorted(Counter(skipped.values()).items())),
        "tables": tables,
    }


def groups(readings: Sequence[Reading]) -> list[tuple[dict[str, str], list[Reading]]]:
    """The sets of problems that get a table: each kind of tests, full ones first, and in it each difficulty and each format."""
    made: list[tuple[dict[str, str], list[Reading]]] = []
    kinds = sorted({reading.about.tests_kind for reading in readings}, key=lambda kind: (kind != FULL, kind))
    for kind in kinds:
        inside = [reading for reading in readings if reading.about.tests_kind == kind]
        made.append(({"tests_kind": kind}, inside))
        for name in ("difficulty", "format"):
            values = sorted({getattr(reading.about, name) for reading in inside})
            for value in values if len(values) > 1 else []:
                made.append(({"tests_kind": kind, name: value}, [r for r in inside if getattr(r.about, name) == value]))
    return made


def arm_order(arm: ArmKey) -> tuple[object, ...]:
    return arm.policy != BEST_OF_N, arm.policy, arm.n, arm.guide, arm.ranking != RANDOM, arm.ranking


@dataclass
class _Group:
    """One table: its readings as vectors over problems, NaN where an arm was not tried."""

    title: dict[str, str]
    readings: list[Reading]
    problems: list[str]
    weights: np.ndarray
    axes: tuple[str, ...]
    costs: tuple[str, ...]

    def __post_init__(self) -> None:
        place = {problem: i for i, problem in enumerate(self.problems)}
        self.arms = sorted({reading.arm for reading in self.readings}, key=arm_order)
        names = [*(f"pass@{k}" for k in RANKS), "oracle", *self.costs]
        self.vectors = {arm: {name: np.full(len(place), np.nan) for name in names} for arm in self.arms}
        for reading in self.readings:
            for name in names:
                self.vectors[reading.arm][name][place[reading.problem]] = reading.figures[name]
        most = max((arm.n for arm in self.arms if arm.policy == BEST_OF_N), default=0)
        self.best_of_n = {arm.ranking: arm for arm in self.arms if arm.policy == BEST_OF_N and arm.n == most}

    def table(self) -> dict[str, Any]:
        return {
            "of": self.title,
            "problems": len(self.problems),
            "power": self._power(),
            "rows": [self._row(arm) for arm in self.arms],
        }

    def _power(self) -> dict[str, Any]:
        """How many problems arms can differ on at all: those where not every answer of every arm is right, or every one wrong."""
        random = np.asarray([self.vectors[arm]["pass@1"] for arm in self.arms if arm.ranking == RANDOM])
        oracle = np.asarray([self.vectors[arm]["oracle"] for arm in self.arms])
        solved = np.nanmax(oracle, axis=0) > 0
        mixed = int((solved & (np.nanmin(random, axis=0) < 1)).sum())
        best = self.best_of_n.get(RANDOM)
        ceiling = None if best is None else {"n": best.n} | shown(self._mean(best, "oracle"))
        return {"solved": int(solved.sum()), "mixed": mixed, "enough": mixed >= MIXED_NEEDED, "ceiling": ceiling}

    def _row(self, arm: ArmKey) -> dict[str, Any]:
        own = self.vectors[arm]
        row: dict[str, Any] = arm._asdict() | {"problems": int((~np.isnan(own["pass@1"])).sum())}
        for name in (*(f"pass@{k}" for k in RANKS), "oracle"):
            row[name] = shown(self._mean(arm, name))
        row["costs"] = {name: rounded(float(self._mean(arm, name)[0])) for name in self.costs}
        if "seconds" in self.costs:
            tried = ~np.isnan(own["seconds"])  # there the others are NaN where they were not measured
            spent, scoring, peaks = (own[name][tried] for name in ("seconds", "scoring_seconds", "peak_memory_mb"))
            row["costs"]["scorer_share"] = rounded(float(scoring.sum() / spent.sum()) if spent.any() else float("nan"))
            row["costs"]["peak_memory_mb"] = rounded(float(peaks.max()))
        row["against"] = {label: self._against(arm, other) for label, other in self._baselines(arm).items()}
        row["lead"] = {axis: self._lead(arm, axis) for axis in self.axes}
        row["leads"] = bool(row["lead"]) and all(lead is not None and lead["low"] > 0 for lead in row["lead"].values())
        return row

    def _mean(self, arm: ArmKey, name: str) -> np.ndarray:
        return mean_of_defined(self.vectors[arm][name], self.weights)

    def _baselines(self, arm: ArmKey) -> dict[str, ArmKey]:
        labels = {"random": RANDOM, "logprob": LOGPROB, "same ranking": arm.ranking}
        found = {label: self.best_of_n[ranking] for label, ranking in labels.items() if ranking in self.best_of_n}
        return {label: other for label, other in found.items() if other != arm}

    def _against(self, arm: ArmKey, other: ArmKey) -> dict[str, Any]:
        """Paired over the problems that both were tried on: the difference in pass@1, and the share of tokens saved."""
        own, base = self.vectors[arm], self.vectors[other]
        difference, least = paired_difference(own["pass@1"], base["pass@1"], self.weights)
        shared = ~np.isnan(own["tokens"] + base["tokens"])
        saved = 1 - ratio(np.where(shared, own["tokens"], 0), np.where(shared, base["tokens"], 0), self.weights)
        return {
            "problems": int(shared.sum()),
            "pass@1": difference.rounded() | {"least": rounded(least)},
            "tokens_saved": shown(saved),
        }

    def _lead(self, arm: ArmKey, axis: str) -> dict[str, float | None] | None:
        """pass@1 less that of best-of-n, ranked the same way, at the same cost; None where there is no curve, or this is on it.

        Between the measured numbers of candidates the curve is straight; beyond them it is level.
        """
        curve = [other for other in self.arms if other.policy == BEST_OF_N and other.ranking == arm.ranking]
        if arm.policy == BEST_OF_N or len(curve) < 2:
            return None
        own = self.vectors[arm]
        tried = ~np.isnan(np.sum([self.vectors[one]["pass@1"] for one in (*curve, arm)], axis=0))
        if not tried.any():
            return None
        weights = self.weights * tried

        def mean(one: ArmKey, name: str) -> np.ndarray:
            return mean_of_defined(np.where(tried, self.vectors[one][name], np.nan), weights)

        costs, passes = (np.asarray([mean(one, name) for one in curve]) for name in (axis, "pass@1"))
        order = np.argsort(costs, axis=0)
        costs, passes = (np.take_along_axis(array, order, axis=0) for array in (costs, passes))
        at = mean_of_defined(np.where(tried, own[axis], np.nan), weights)
        drawn = zip(at, costs.T, passes.T, strict=True)
        same_cost = np.asarray([np.interp(cost, known, passed) for cost, known, passed in drawn])
        return shown(mean(arm, "pass@1") - same_cost)


def _independent(samples: Sequence[Independent], weights: np.ndarray) -> dict[str, Any]:
    """pass@k of independent samples, the unbiased estimator, for each k that all problems have enough samples for."""
    if not samples or weights.shape[1] != len(samples):
        return {"independent": None}
    ordered = sorted(samples, key=lambda one: one.problem)
    least = min(one.samples for one in ordered)
    ks = sorted({k for k in POOL_KS if k < least} | {least})
    rates = {k: np.asarray([pass_at_k(one.samples, one.correct, k) for one in ordered]) for k in ks}
    return {
        "independent": {
            "samples": least,
            "pass@k": [{"k": k} | shown(mean_of_defined(rates[k], weights)) for k in ks],
        }
    }
