"""How many of a candidate's siblings do what it does: over the inputs that tell candidates apart, weighted.

Sees classes of outcomes, not programs: `classes` [R, I] are numbers, equal for equal outcomes on an input, negative where a
candidate was not run; `results` [R, I] says where it gave a result at all. To fail in the same way is not to agree.
"""

from __future__ import annotations

import numpy as np


def agreement(classes: np.ndarray, results: np.ndarray, counts: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """The share of the other samples that give the same results, for each of R candidates, [R]; NaN where there is none to tell.

    counts [R]: samples of each candidate, which agree with each other. values [R], positive: what a sample of each weighs, else
    all the same. An input counts by the share of the samples that give a result on it. If no input tells candidates apart, all
    count.
    """
    weights = np.ones(len(counts)) if values is None else values
    total = float((counts * weights).sum())
    others = total - weights
    telling = tells(classes)
    if telling.any():
        classes, results = classes[:, telling], results[:, telling]
    matter = (counts * weights) @ results / max(total, 1e-12)
    if not matter.sum() or len(counts) == 0 or counts.sum() < 2:
        return np.full(len(counts), np.nan)
    same = (classes[:, None] == classes) & results[:, None] & results  # [R, R, I]
    agreeing = np.einsum("j,rji->ri", counts * weights, same) - weights[:, None] * results
    shares: np.ndarray = (agreeing @ matter) / (np.maximum(others, 1e-12) * matter.sum())
    return shares


def tells(classes: np.ndarray) -> np.ndarray:
    """Which inputs tell candidates apart, [I] bool: two that were run on it have different outcomes."""
    ran = classes >= 0
    highest = np.where(ran, classes, -1).max(axis=0, initial=-1)
    lowest = np.where(ran, classes, highest).min(axis=0, initial=np.iinfo(np.int64).max)
    told: np.ndarray = ran.any(axis=0) & (lowest < highest)
    return told


def behaviours(classes: np.ndarray) -> np.ndarray:
    """A number for each candidate, [R]: equal for those with the same outcome on every input; without inputs all differ."""
    if not classes.shape[1]:
        return np.arange(len(classes))
    _, numbers = np.unique(classes, axis=0, return_inverse=True)
    return np.asarray(numbers).ravel()
