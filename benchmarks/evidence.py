"""What each kind of evidence adds: best of n by value, by execution, by both, with and without printed examples; leave one out.

Every arm is a set of columns (valuemodel/evidence.py). Its model is fitted to other problems in both steps: the first to training
data, the second to calibration data, or to the other four fifths of the same problems. Draws of n samples are ranked, 100 a
problem; the three answers of pass@3 are the best of three behaviours, since answers that do the same are right or wrong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..engine.progress import stage
from ..valuemodel import metrics
from ..valuemodel.agreement import behaviours
from ..valuemodel.evidence import (
    AGREEMENT_COLUMNS,
    COLUMNS,
    COMPARED,
    EXAMPLE_COLUMNS,
    LEVEL_COLUMNS,
    LOGPROB_COLUMNS,
    NEED_VALUES,
    READER_COLUMNS,
    RUN_COLUMNS,
    TEXT_COLUMNS,
    VALUE_COLUMNS,
    EvidenceModel,
)
from ..valuemodel.evidence_fit import Labelled, fit_evidence, refitted
from ..valuemodel.metrics import divided, mean_of_defined, paired_difference, pass_at_k, problem_weights, shown
from .evidence_pools import EvidencePool

FOLDS = 5
FITTED_DRAWS = 5
"""Draws of a problem that the second step is fitted to."""
EXECUTION = (*AGREEMENT_COLUMNS, *RUN_COLUMNS, *TEXT_COLUMNS)
ALL = "all"
PARTS = {
    "value": LEVEL_COLUMNS,
    "reader": READER_COLUMNS,
    "log-probability": LOGPROB_COLUMNS,
    "examples": EXAMPLE_COLUMNS,
    "agreement": AGREEMENT_COLUMNS,
    "runs": RUN_COLUMNS,
    "length, ended, parses": TEXT_COLUMNS,
}


def arms(names: Sequence[str] = COLUMNS) -> dict[str, tuple[str, ...]]:
    """Arms by name, made of those columns that are among `names`, and of each answer's value where values are; of arms that are
    then the same, the first, or all."""
    usable = {*names, *(COMPARED if set(LEVEL_COLUMNS) <= set(names) else ())}
    made = {
        "log-probability": LOGPROB_COLUMNS,
        "value": VALUE_COLUMNS,
        "reader": READER_COLUMNS,
        "reader, log-probability": (*READER_COLUMNS, *LOGPROB_COLUMNS),
        "value, log-probability": (*VALUE_COLUMNS, *LOGPROB_COLUMNS),
        "value, log-probability, examples": (*VALUE_COLUMNS, *LOGPROB_COLUMNS, *EXAMPLE_COLUMNS),
        "execution": EXECUTION,
        "execution, examples": (*EXECUTION, *EXAMPLE_COLUMNS),
        "value, log-probability, execution": (*VALUE_COLUMNS, *LOGPROB_COLUMNS, *EXECUTION),
        ALL: tuple(names),
        "all, and each answer's value": (*names, *COMPARED),
    }
    made |= {f"all but {part}": tuple(name for name in names if name not in left) for part, left in PARTS.items()}
    kept = {name: tuple(column for column in columns if column in usable) for name, columns in made.items()}
    first = {columns: name for name, columns in reversed(kept.items())} | {kept[ALL]: ALL}
    return {name: columns for name, columns in kept.items() if columns and first[columns] == name}


def evidence_figures(
    pools: Sequence[EvidencePool],
    training: Sequence[Labelled],
    calibration: Sequence[EvidencePool] | None,
    names: Sequence[str] = COLUMNS,
    n: int = 10,
    resamples: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of all arms as plain JSON types. Without `calibration` the second step is cross-fitted on `pools`."""
    weights = problem_weights(len(pools), seed)
    drawn = [[draw.labelled() for draw in pool.draws(n, resamples, seed)] for pool in pools]
    kinds = [[behaviours(draw.found.classes) for draw in pool.draws(n, resamples, seed)] for pool in pools]
    fitted = fitted_draws(calibration if calibration is not None else pools, n, seed + 1)
    read: dict[str, _Arm] = {}
    chosen = arms(names)
    with stage(f"Ranking {len(pools)} problems by {len(chosen)} kinds of evidence", total=float(len(chosen))) as advance:
        for i, (name, columns) in enumerate(chosen.items()):
            first, added = first_step(training, columns)
            models = fold_models(first, added, fitted, [pool.problem for pool in pools], calibration is None)
            read[name] = _Arm.of(drawn, kinds, models)
            advance(i + 1)
    bounds = _bounds(drawn)
    return {
        "problems": len(pools),
        "mixed_problems": sum(bool(pool.correct.any() and not pool.correct.all()) for pool in pools),
        "with_examples": sum(pool.found.shown > 0 for pool in pools),
        "with_inputs": sum(pool.found.classes.shape[1] > 0 for pool in pools),
        "n": n,
        "bounds": {name: shown(mean_of_defined(figure, weights)) for name, figure in bounds.items()},
        "arms": {name: arm.figures(bounds, read[ALL], weights) | {"columns": chosen[name]} for name, arm in read.items()},
    }


def calibration_curve(
    training: Sequence[EvidencePool], pools: Sequence[EvidencePool], columns: Sequence[str], n: int
) -> dict[str, Any]:
    """How often candidates of each tenth of the probability are correct, cross-fitted on `pools`; with ECE and Brier skill.

    Several pools of one problem, by several generators, count as one problem and are left out together.
    """
    first, added = first_step([pool.labelled() for pool in training], columns)
    fitted = fitted_draws(pools, n, 1)
    problems = [pool.problem for pool in pools]
    models = fold_models(first, added, fitted, problems, crossed=True)
    drawn = fitted_draws(pools, n, 0)
    arm = _Arm.of(drawn, [[np.arange(len(one.correct)) for one in draws] for draws in drawn], models)
    names, numbers = np.unique(problems, return_inverse=True)
    arm.rows["problem"] = numbers[arm.rows["problem"]]
    return arm.curve(len(names))


def first_step(training: Sequence[Labelled], columns: Sequence[str]) -> tuple[EvidenceModel, tuple[str, ...]]:
    """(the model of all columns that need no second model, fitted to `training`; the others, for the second step)."""
    own = [name for name in columns if name not in (*NEED_VALUES, *READER_COLUMNS)]
    model = fit_evidence(training, own) if own else EvidenceModel({}, 0.0)
    return model, tuple(name for name in columns if name not in own)


def fitted_draws(pools: Sequence[EvidencePool], n: int, seed: int) -> list[list[Labelled]]:
    made = [list(pool.draws(n, FITTED_DRAWS, seed)) for pool in pools]
    return [[draw.labelled(1 / len(draws)) for draw in draws] for draws in made]


def fold_models(
    first: EvidenceModel, added: Sequence[str], fitted: Sequence[Sequence[Labelled]], problems: Sequence[str], crossed: bool
) -> list[EvidenceModel]:
    """The model for each pool, whose problems are `problems`: with `crossed` one that was fitted to the other folds of these."""
    if not crossed:
        return [refitted(first, [one for draws in fitted for one in draws], added)] * len(problems)
    names, numbers = np.unique(problems, return_inverse=True)
    fold = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[numbers]
    made = [refitted(first, [one for i in np.flatnonzero(fold != f).tolist() for one in fitted[i]], added) for f in range(FOLDS)]
    return [made[f] for f in fold.tolist()]


def _bounds(drawn: Sequence[Sequence[Labelled]]) -> dict[str, np.ndarray]:
    """random@1, random@3 and oracle, [P] each."""

    def mean(figure: Any) -> np.ndarray:
        return np.asarray([np.mean([figure(draw) for draw in draws]) for draws in drawn])

    def blind(k: int) -> Any:
        return lambda draw: pass_at_k(
            int(draw.counts.sum()), int(draw.counts[draw.correct].sum()), min(k, int(draw.counts.sum()))
        )

    return {"random@1": mean(blind(1)), "random@3": mean(blind(3)), "oracle": mean(lambda draw: float(draw.correct.any()))}


class _Arm:
    """One arm's figures a problem, [P] each, and its probabilities in a row for their calibration."""

    def __init__(self, by_problem: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> None:
        self.by_problem, self.rows = by_problem, rows

    @classmethod
    def of(
        cls, drawn: Sequence[Sequence[Labelled]], kinds: Sequence[Sequence[np.ndarray]], models: Sequence[EvidenceModel]
    ) -> _Arm:
        found: dict[str, list[float]] = {"pass@1": [], "pass@3": [], "auroc": []}
        rows: dict[str, list[np.ndarray]] = {"values": [], "correct": [], "counts": [], "problem": []}
        for p, (draws, behaving, model) in enumerate(zip(drawn, kinds, models, strict=True)):
            each: dict[str, list[float]] = {name: [] for name in found}
            for draw, kind in zip(draws, behaving, strict=True):
                scores = model.probabilities(draw.columns)
                each["pass@1"].append(metrics.pass_of_top(scores, draw.correct, draw.counts, 1))
                ones = np.ones(len(scores), np.int64)
                each["pass@3"].append(metrics.pass_of_top(apart(scores, kind), draw.correct, ones, 3))
                each["auroc"].append(metrics.auroc(scores, draw.correct, draw.counts))
                for name, row in zip(rows, (scores, draw.correct, draw.counts, np.full(len(scores), p)), strict=True):
                    rows[name].append(row)
            for name, ones_of in each.items():
                known = [one for one in ones_of if not np.isnan(one)]
                found[name].append(float(np.mean(known)) if known else np.nan)
        return cls(
            {name: np.asarray(each) for name, each in found.items()},
            {name: np.concatenate(parts) for name, parts in rows.items()},
        )

    @property
    def shares(self) -> np.ndarray:
        """What each row of `rows` counts, its problem as a whole 1."""
        sums = np.bincount(self.rows["problem"], self.rows["counts"])
        shares: np.ndarray = self.rows["counts"] / sums[self.rows["problem"]]
        return shares

    def curve(self, problems: int) -> dict[str, Any]:
        rows, shares, weights = self.rows, self.shares, problem_weights(problems)
        calibration = rows["values"], rows["correct"], shares, rows["problem"], weights
        tenths = np.minimum((rows["values"] * metrics.BINS).astype(int), metrics.BINS - 1)
        bins = []
        for tenth in np.unique(tenths).tolist():
            inside = tenths == tenth
            share = shares[inside] / shares[inside].sum()
            means = {name: float((share * rows[key][inside]).sum()) for name, key in (("mean", "values"), ("correct", "correct"))}
            bins.append({"tenth": tenth} | means | {"share": float(shares[inside].sum() / shares.sum())})
        rounded = [{name: round(number, 4) for name, number in one.items()} for one in bins]
        return {
            "bins": rounded,
            "ece": shown(metrics.calibration_error(*calibration)),
            "brier_skill": shown(metrics.brier_skill(*calibration)),
        }

    def figures(self, bounds: dict[str, np.ndarray], whole: _Arm, weights: np.ndarray) -> dict[str, Any]:
        rows = self.rows
        calibration = rows["values"], rows["correct"], self.shares, rows["problem"], weights
        found = {"auroc": shown(mean_of_defined(self.by_problem["auroc"], weights))}
        for k in (1, 3):
            passed, floor = (mean_of_defined(f, weights) for f in (self.by_problem[f"pass@{k}"], bounds[f"random@{k}"]))
            found[f"pass@{k}"] = shown(passed)
            found[f"gap@{k}"] = shown(divided(passed - floor, mean_of_defined(bounds["oracle"], weights) - floor))
            change, _ = paired_difference(self.by_problem[f"pass@{k}"], whole.by_problem[f"pass@{k}"], weights)
            found[f"change@{k}"] = change.rounded()
        found["ece"] = shown(metrics.calibration_error(*calibration))
        found["brier_skill"] = shown(metrics.brier_skill(*calibration))
        return found


def apart(scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Scores [R] between 0 and 1, less 1 for all but the best of each behaviour: the order in which to show answers."""
    order = np.lexsort((np.arange(len(scores)), -scores))
    _, firsts = np.unique(kinds[order], return_index=True)
    lowered = scores - 1
    lowered[order[firsts]] += 1
    return lowered
