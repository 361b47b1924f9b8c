"""Evidence: what is known of finished candidates, as named columns of numbers, and the model that makes one probability of it.

`columns` knows no programs. A column that is missing for a candidate (NaN: no examples shown, no sibling, no value model) is a
state of its own with a weight of its own, not a zero. More columns may be named when a model is fitted (evidence_fit.py): a
larger reader's score, say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.files import write_atomically
from .agreement import agreement
from .made_for import ValueModelError

FORMAT = 1
Columns = Mapping[str, np.ndarray]
"""By name, one number a candidate [R]; NaN where it is missing."""

LEVEL_COLUMNS = ("value of all",)
EXAMPLE_COLUMNS = ("examples", "all examples")
AGREEMENT_COLUMNS = ("agreement",)
RUN_COLUMNS = ("runs against siblings",)
TEXT_COLUMNS = ("length against siblings", "ended", "parses")
LOGPROB_COLUMNS = ("log-probability", "log-probability against siblings")
READER_COLUMNS = ("reader's log-probability", "log-ratio", "log-ratio against siblings")
OWN_COLUMNS = (*LOGPROB_COLUMNS, *TEXT_COLUMNS, *EXAMPLE_COLUMNS, *AGREEMENT_COLUMNS, *RUN_COLUMNS)
COLUMNS = (*OWN_COLUMNS, *LEVEL_COLUMNS, *READER_COLUMNS)
"""What models are fitted to. Of values only their mean over all answers: it tells how likely answers to this problem are to be
correct, and leaves their order to the rest, which knows it better (docs/evidence.md)."""
VALUE_COLUMNS = ("value", "value against siblings")
COMPARED = (*VALUE_COLUMNS, "agreement by value")
"""Each answer's own value: for comparison, and for models that were fitted before."""
NEED_VALUES = (*LEVEL_COLUMNS, *COMPARED)
"""The columns that are missing without a value model. `READER_COLUMNS` are missing without a reader."""


@dataclass(frozen=True)
class Finished:
    """R distinct answers to one problem, as numbers.

    counts [R]: samples of each; lengths [R], tokens; logprobs [R]: mean log-probability of a token; ended, parses [R] bool;
    passed [R]: examples met, of `shown`; classes, results [R, I]: outcomes on I public inputs (agreement.py); values [R]: a value
    model's, NaN without one; readings [R]: mean log-probability of a token under a reader, NaN without one.
    """

    counts: np.ndarray
    lengths: np.ndarray
    logprobs: np.ndarray
    ended: np.ndarray
    parses: np.ndarray
    passed: np.ndarray
    shown: int
    classes: np.ndarray
    results: np.ndarray
    values: np.ndarray
    readings: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


def columns(found: Finished) -> dict[str, np.ndarray]:
    """All of `COLUMNS` and `COMPARED`, [R] each."""
    missing = np.full(len(found), np.nan)
    values = np.clip(found.values, 1e-4, 1 - 1e-4)
    values = np.log(values / (1 - values))
    share = found.passed / found.shown if found.shown else missing
    told, unvalued = (found.classes, found.results, found.counts), bool(np.isnan(found.values).any())
    runs = found.results.mean(axis=1) if found.results.shape[1] else missing
    return {
        "log-probability": found.logprobs,
        "log-probability against siblings": _against_siblings(found.logprobs, found.counts),
        "examples": share,
        "all examples": np.where(np.isnan(share), np.nan, share == 1),
        "agreement": agreement(*told),
        "runs against siblings": _against_siblings(runs, found.counts),
        "length against siblings": _against_siblings(np.log(np.maximum(found.lengths, 1)), found.counts),
        "ended": found.ended.astype(np.float64),
        "parses": found.parses.astype(np.float64),
        "value of all": np.full(len(found), np.average(values, weights=found.counts)) if len(found) else missing,
        "value": values,
        "agreement by value": missing if unvalued else agreement(*told, found.values),
        "value against siblings": _against_siblings(values, found.counts),
        "reader's log-probability": found.readings,
        "log-ratio": found.readings - found.logprobs,
        "log-ratio against siblings": _against_siblings(found.readings - found.logprobs, found.counts),
    }


def _against_siblings(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Each score less the mean of the other samples', [R]; NaN where there are none."""
    others = counts.sum() - 1
    if others < 1:
        return np.full(len(scores), np.nan)
    return scores - ((counts * scores).sum() - scores) / others


@dataclass(frozen=True)
class Column:
    """What one column adds to the logit: `weight` times its distance from `centre`, or `missing` where it is not known."""

    weight: float
    centre: float
    missing: float = 0.0


@dataclass(frozen=True)
class EvidenceModel:
    """A logistic model of named columns. `about`: what it was fitted to and for, as JSON."""

    columns: dict[str, Column]
    bias: float
    about: dict[str, Any] = field(default_factory=dict)

    def logits(self, found: Columns) -> np.ndarray:
        """[R]. Raises ValueModelError where a column of the model is not among `found`."""
        absent = self.columns.keys() - found.keys()
        if absent:
            raise ValueModelError(f"this evidence model reads {', '.join(sorted(absent))}, which is not known here")
        total = np.full(len(next(iter(found.values()))), self.bias)
        for name, column in self.columns.items():
            known = found[name]
            total += np.where(np.isnan(known), column.missing, column.weight * (known - column.centre))
        return total

    def probabilities(self, found: Columns) -> np.ndarray:
        """That each candidate is correct, [R]."""
        # A sigmoid that does not overflow, and without scipy, whose import takes longer than that of this package.
        return (1 + np.tanh(self.logits(found) / 2)) / 2

    def save(self, path: Path) -> None:
        parts = {name: asdict(column) for name, column in self.columns.items()}
        text = json.dumps({"format": FORMAT, "columns": parts, "bias": self.bias, "about": self.about}, indent=1)
        write_atomically(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> EvidenceModel:
        """Raises ValueModelError for anything but what `save` wrote."""
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            if saved["format"] != FORMAT:
                raise ValueModelError(f"{path} is of a format that this version does not read")
            parts = {name: Column(**column) for name, column in saved["columns"].items()}
            return cls(parts, float(saved["bias"]), saved["about"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueModelError(f"{path} is no evidence model: {error}") from error
