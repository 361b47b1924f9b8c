"""How good values are: the paper's tables and figures, and what they leave out, for the value model and for every shortcut.

Everything here is a pure function of a `RolloutTable` and comes as plain JSON types; plots.py and report.py only show it. A
shortcut's score becomes a probability by a cross-fitted Platt scaling at each position, which flatters it; values are taken as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..engine.scorers import VALUE
from . import metrics
from .metrics import by_problem, mean_of_defined, ratio, shown
from .rollout_table import RolloutTable

TOKENS = (8, 16, 32, 64, 128)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BEST_OF = 10
MATCHED = 0.1
"""Two answers are of matched length if they differ by at most this share of the longer."""


def evaluate(
    table: RolloutTable, base_rate: float, seed: int = 0, resamples: int = metrics.RESAMPLES, best_of: int = BEST_OF
) -> dict[str, Any]:
    """All figures. `base_rate` is that of the calibration data: above it a value speaks for an answer where both classes are as
    many. `best_of`: how many of a problem's rollouts the ranking chooses from, in expectation over all draws of so many."""
    weights = metrics.problem_weights(len(table.names), seed, resamples)
    return {
        "data": _data(table) | {"calibration_base_rate": base_rate},
        "ranking": {scorer: _ranking(table, scorer, weights) for scorer in table.scorers} | _bounds(table, weights),
        "best_of": {"n": best_of, "scorers": _best_of(table, best_of, weights)},
        "table_2": {scorer: _table_2(table, scorer, weights, base_rate) for scorer in table.scorers},
        "by_tokens": _positions(table, [(str(n), np.full(len(table), n)) for n in TOKENS], weights),
        "by_share": _positions(table, [(f"{s:.0%}", _tokens_at(table, s, False)) for s in SHARES], weights),
        "figure_1a": _distributions(table),
        "figure_1b": _examples(table),
        "figure_2": {
            "code": [_accuracy_at(table, s, True, weights, base_rate) for s in SHARES],
            "answer": [_accuracy_at(table, s, False, weights, base_rate) for s in SHARES],
        },
    }


def balanced_counts(table: RolloutTable) -> np.ndarray:
    """counts [R] as after the paper's oversampling: in each problem with both classes the smaller weighs as much as the
    larger."""
    problems = len(table.names)
    right = by_problem(table.problem, problems, table.counts * table.correct)
    wrong = by_problem(table.problem, problems, table.counts * ~table.correct)
    larger, both = np.maximum(right, wrong), (right > 0) & (wrong > 0)
    own = np.where(table.correct, right[table.problem], wrong[table.problem])
    factor = np.where(both[table.problem], larger[table.problem] / own, 1.0)
    balanced: np.ndarray = table.counts * factor
    return balanced


# -- the parts


def _data(table: RolloutTable) -> dict[str, Any]:
    right = by_problem(table.problem, len(table.names), table.counts * table.correct)
    total = by_problem(table.problem, len(table.names), table.counts)
    return {
        "problems": len(table.names),
        "mixed_problems": int(((right > 0) & (right < total)).sum()),
        "rollouts": int(table.counts.sum()),
        "distinct_rollouts": len(table),
        "correct": int((table.counts * table.correct).sum()),
        "mean_tokens": float(np.average(table.lengths, weights=table.counts)),
    }


def _ranking(table: RolloutTable, scorer: str, weights: np.ndarray) -> dict[str, Any]:
    """Of whole answers: pass@1 and pass@3 of the best-scored, and how well the score orders answers."""
    scores = table.scores(scorer, table.lengths)
    within = partial(metrics.within_problem, table.problem, len(table.names))
    longer = np.maximum(table.lengths[:, None], table.lengths)
    matched = np.abs(table.lengths[:, None] - table.lengths) <= MATCHED * longer
    matched &= table.ended[:, None] & table.ended

    def auroc(rows: np.ndarray, comparable: np.ndarray | None = None) -> float:
        pairs = None if comparable is None else comparable[np.ix_(rows, rows)]
        return metrics.auroc(scores[rows], table.correct[rows], table.counts[rows], pairs)

    mass = weights[:, table.problem] * table.counts
    return {
        "pass@1": shown(mean_of_defined(within(_passing(table, scores, 1)), weights)),
        "pass@3": shown(mean_of_defined(within(_passing(table, scores, 3)), weights)),
        "within_problem_auroc": shown(mean_of_defined(within(auroc), weights)),
        "length_matched_auroc": shown(mean_of_defined(within(partial(auroc, comparable=matched)), weights)),
        "global_auroc": shown(metrics.global_auroc(scores, table.correct, mass)),
        **_calibration(table, _as_values(table, scorer, scores), weights),
    }


def _passing(table: RolloutTable, scores: np.ndarray, k: int, n: int | None = None) -> Callable[[np.ndarray], float]:
    return lambda rows: metrics.pass_of_top(scores[rows], table.correct[rows], table.counts[rows], k, n)


def _bounds(table: RolloutTable, weights: np.ndarray) -> dict[str, Any]:
    """What ranking at random gives, and what knowing the verdicts would."""
    within = partial(metrics.within_problem, table.problem, len(table.names))
    bounds = {}
    for name, scores in _bounding_scores(table).items():
        bounds[name] = {f"pass@{k}": shown(mean_of_defined(within(_passing(table, scores, k)), weights)) for k in (1, 3)}
    return bounds


def _bounding_scores(table: RolloutTable) -> dict[str, np.ndarray]:
    return {"random": np.zeros(len(table)), "oracle": table.correct.astype(float)}


def _best_of(table: RolloutTable, n: int, weights: np.ndarray) -> dict[str, Any]:
    """What ranking buys: pass@1 of the best-scored of n rollouts and pass@3 of the best three; how much of the way from choosing
    at random to the oracle that is; and by what factor more than at random, as the paper gives it. Differences are paired."""
    within = partial(metrics.within_problem, table.problem, len(table.names))
    bounds = _bounding_scores(table)
    scores = {scorer: table.scores(scorer, table.lengths) for scorer in table.scorers} | bounds
    found: dict[str, Any] = {scorer: {} for scorer in scores}
    for k in (1, 3):
        passing = {scorer: mean_of_defined(within(_passing(table, own, k, n)), weights) for scorer, own in scores.items()}
        floor = passing["random"]
        for scorer, passed in passing.items():
            found[scorer][f"pass@{k}"] = shown(passed)
            if scorer not in bounds:
                found[scorer][f"gap@{k}"] = shown(metrics.divided(passed - floor, passing["oracle"] - floor))
                found[scorer][f"gain@{k}"] = shown(metrics.divided(passed - floor, floor))
    return found


def _calibration(table: RolloutTable, values: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    arguments = values, table.correct, table.counts, table.problem, weights
    return {
        "brier_skill": shown(metrics.brier_skill(*arguments)),
        "calibration_error": shown(metrics.calibration_error(*arguments)),
    }


def _as_values(table: RolloutTable, scorer: str, scores: np.ndarray) -> np.ndarray:
    return scores if scorer == VALUE else metrics.cross_fitted(scores, table.correct, table.counts, table.problem)


def _table_2(table: RolloutTable, scorer: str, weights: np.ndarray, base_rate: float) -> dict[str, Any]:
    """The paper's Table 2 of whole answers, for both data sets and both thresholds."""
    values = _as_values(table, scorer, table.scores(scorer, table.lengths))
    counts = {"imbalanced": table.counts.astype(float), "balanced": balanced_counts(table)}
    thresholds = {"0.5": 0.5, "base rate": _even_odds(table, scorer, base_rate)}
    return {
        data: {name: _decisions(table, values >= threshold, counts[data], weights) for name, threshold in thresholds.items()}
        for data in counts
    }


def _even_odds(table: RolloutTable, scorer: str, base_rate: float) -> float:
    """Above which value an answer is more likely correct than not where the classes are as many: the base rate of the data that
    the values were calibrated on, which for the shortcuts are these."""
    return base_rate if scorer == VALUE else float(np.average(table.correct, weights=table.counts))


def _decisions(table: RolloutTable, accepted: np.ndarray, counts: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    sums = partial(by_problem, table.problem, len(table.names))
    right, wrong = table.correct, ~table.correct

    def share(which: np.ndarray, among: np.ndarray) -> dict[str, float | None]:
        return shown(ratio(sums(counts * (which & among)), sums(counts * among), weights))

    recalls = [ratio(sums(counts * (a & c)), sums(counts * c), weights) for a, c in ((accepted, right), (~accepted, wrong))]
    everything = np.ones(len(table), bool)
    return {
        "predicted_correct": share(accepted, everything),
        "predicted_wrong": share(~accepted, everything),
        "accuracy": share(accepted == right, everything),
        "precision_correct": share(right, accepted),
        "recall_correct": share(accepted, right),
        "precision_wrong": share(wrong, ~accepted),
        "recall_wrong": share(~accepted, wrong),
        "balanced_accuracy": shown((recalls[0] + recalls[1]) / 2),
    }


def _positions(table: RolloutTable, places: Sequence[tuple[str, np.ndarray]], weights: np.ndarray) -> list[dict[str, Any]]:
    """Figures of what is known part of the way, by scorer; a rollout that is done keeps its last score."""
    rows: list[dict[str, Any]] = []
    for name, tokens in places:
        by_scorer = {}
        for scorer in table.scorers:
            scores = table.scores(scorer, tokens)
            aurocs = metrics.within_problem(table.problem, len(table.names), partial(_auroc_of, table, scores))
            by_scorer[scorer] = {
                "within_problem_auroc": shown(mean_of_defined(aurocs, weights)),
                **_calibration(table, _as_values(table, scorer, scores), weights),
            }
        rows.append({"seen": name, "scorers": by_scorer})
    return rows


def _auroc_of(table: RolloutTable, scores: np.ndarray, rows: np.ndarray) -> float:
    return metrics.auroc(scores[rows], table.correct[rows], table.counts[rows])


def _tokens_at(table: RolloutTable, share: float, code: bool) -> np.ndarray:
    """How many tokens of each answer have been seen when `share` of it, or of the code in it, has."""
    start, stop = (table.code[:, 0], table.code[:, 1]) if code else (np.zeros(len(table)), table.lengths)
    tokens: np.ndarray = np.ceil(start + share * (stop - start)).astype(int)
    return tokens


def _accuracy_at(table: RolloutTable, share: float, code: bool, weights: np.ndarray, base_rate: float) -> dict[str, Any]:
    """A point of the paper's Figure 2."""
    tokens = _tokens_at(table, share, code)
    found = {}
    for scorer in table.scorers:
        values = _as_values(table, scorer, table.scores(scorer, tokens))
        balanced = _decisions(table, values >= _even_odds(table, scorer, base_rate), balanced_counts(table), weights)
        found[scorer] = {
            "imbalanced": _decisions(table, values >= 0.5, table.counts.astype(float), weights)["accuracy"],
            "balanced": balanced["accuracy"],
        }
    return {"share": share, "scorers": found}


def _distributions(table: RolloutTable) -> dict[str, Any]:
    """Figure 1a: the share of final values in each of 20 bins, by true label."""
    values = table.scores(VALUE, table.lengths)
    edges = np.linspace(0, 1, 21)
    shares: dict[str, Any] = {"edges": edges.tolist()}
    for name, label in (("correct", True), ("wrong", False)):
        counted, _ = np.histogram(values[table.correct == label], edges, weights=table.counts[table.correct == label])
        shares[name] = (counted / max(counted.sum(), 1)).tolist()
    return shares


def _examples(table: RolloutTable) -> list[dict[str, Any]]:
    """Figure 1b: a correct and a wrong rollout of one problem, the one whose answers are of the most ordinary length."""
    right, wrong = (np.bincount(table.problem[table.correct == label], minlength=len(table.names)) for label in (True, False))
    mixed = np.flatnonzero((right > 0) & (wrong > 0))
    if not len(mixed):
        return []
    lengths = np.asarray([np.median(table.lengths[table.problem == p]) for p in mixed])
    problem = mixed[np.argmin(np.abs(lengths - np.median(table.lengths)))]
    examples = []
    for label in (True, False):
        rows = np.flatnonzero((table.problem == problem) & (table.correct == label))
        row = rows[np.argmax(table.counts[rows])]
        examples.append(
            {
                "problem": table.names[problem],
                "correct": label,
                "tokens": list(table.pieces[row]),
                "values": table.traces[VALUE][row].tolist(),
            }
        )
    return examples
