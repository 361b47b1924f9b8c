"""Fits evidence models: a logistic regression of named columns, by scikit-learn, which is needed here and nowhere else.

Two steps. The first is fitted to many problems without a value model. The second learns, on other problems, how much of the
first's logit to believe there and what a value model's columns add: a value model has seen the problems that it was trained on,
so its values there are worth more than they will be later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .evidence import Column, Columns, EvidenceModel
from .made_for import ValueModelError

PENALTY = 1.0
"""Inverse of the L2 penalty of standardised columns, in units of a problem's weight."""
_STACKED = "first step"
FEWEST = 2


@dataclass(frozen=True)
class Labelled:
    """The finished candidates of one problem (or of one draw of them): columns and counts [R], correct [R] bool."""

    columns: Columns
    counts: np.ndarray
    correct: np.ndarray
    weight: float = 1.0


def fit_evidence(labelled: Sequence[Labelled], names: Sequence[str]) -> EvidenceModel:
    """A model of the columns `names`; each problem counts `weight`, shared by its samples. Raises ValueModelError where all
    answers are right, or wrong.
    """
    weights = np.concatenate([one.weight * one.counts / one.counts.sum() for one in labelled])
    correct = np.concatenate([one.correct for one in labelled]).astype(bool)
    if len(np.unique(correct)) < FEWEST:
        raise ValueModelError("evidence is fitted to problems with correct and wrong answers")
    table = {name: np.concatenate([one.columns[name] for one in labelled]) for name in names}
    features, scales = [], {}
    for name, column in table.items():
        known = ~np.isnan(column)
        if not known.any():
            continue
        centre = float(np.average(column[known], weights=weights[known]))
        spread = float(np.sqrt(np.average((column[known] - centre) ** 2, weights=weights[known]))) or 1.0
        scales[name] = centre, spread, bool((~known).any())
        features.append(np.where(known, (column - centre) / spread, 0.0))
        if scales[name][2]:
            features.append((~known).astype(np.float64))
    weighed, bias = _logistic(np.stack(features, axis=1), correct, weights)
    left = iter(weighed)
    made = {}
    for name, (centre, spread, has_missing) in scales.items():
        made[name] = Column(next(left) / spread, centre, next(left) if has_missing else 0.0)
    return EvidenceModel(made, bias)


def refitted(model: EvidenceModel, labelled: Sequence[Labelled], added: Sequence[str] = ()) -> EvidenceModel:
    """`model` as the second step has it: its logit scaled and shifted, and the columns `added` beside it."""
    stacked = [
        Labelled({**one.columns, _STACKED: model.logits(one.columns)}, one.counts, one.correct, one.weight) for one in labelled
    ]
    second = fit_evidence(stacked, (_STACKED, *added))
    columns = dict(second.columns)
    first = columns.pop(_STACKED)
    scaled = {
        name: Column(first.weight * column.weight, column.centre, first.weight * column.missing)
        for name, column in model.columns.items()
    }
    return EvidenceModel(scaled | columns, second.bias + first.weight * (model.bias - first.centre), model.about)


def _logistic(features: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> tuple[list[float], float]:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ValueModelError("fitting evidence takes scikit-learn: pip install 'guided-gen[fit]'") from None
    model: Any = LogisticRegression(C=PENALTY, max_iter=1000)
    model.fit(features, correct, sample_weight=weights)
    return [float(weight) for weight in model.coef_[0]], float(model.intercept_[0])
