"""Training targets: for every node of a judged tree a label in [0, 1] and a weight. The weights of a tree sum to 1.

binary   every rollout counts once at each of its tokens, with its own label (the paper); a shared token carries the weighted mean
soft     every node counts once; its label is the mean of the rollouts resampled at the nearest fork at or below it, or, below all
         forks, of those through it. The trunk is no evidence, since it was selected for being correct: where it is the only one,
         the node's weight is reduced

Either way a rollout's tokens share its weight equally, so that long or truncated failures do not dominate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..engine.errors import DataError
from ..engine.tree import ROOT, Tree

Kind = Literal["binary", "soft"]
PASSED = "passed"
TRUNK_WEIGHT = 0.1
"""Of a node whose only evidence is the trunk, against one that was resampled."""


@dataclass(frozen=True)
class Targets:
    """labels, weights [nodes], float64. Nodes without evidence have weight 0."""

    labels: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Outcomes:
    """The judged rollouts of a tree, R of them: rows, leaves, forks [R], counts [R] (multiplicity), correct [R] bool."""

    rows: np.ndarray
    leaves: np.ndarray
    forks: np.ndarray
    counts: np.ndarray
    correct: np.ndarray


def outcomes(tree: Tree, independent: bool = False) -> Outcomes:
    """The judged rollouts with at least one token; with `independent`, only those sampled from the prompt itself."""
    judged = np.asarray([verdict is not None for verdict in tree.verdicts], bool)
    kept = judged & (tree.rollouts.leaf != ROOT)
    if independent:
        kept &= tree.rollouts.fork == ROOT
    rows = np.flatnonzero(kept)
    correct = np.asarray([tree.verdicts[row] == PASSED for row in rows.tolist()], bool)
    counts = tree.rollouts.multiplicity[rows].astype(np.int64)
    return Outcomes(rows, tree.rollouts.leaf[rows], tree.rollouts.fork[rows], counts, correct)


def targets(tree: Tree, kind: Kind = "binary", balanced: bool = False, independent: bool = False) -> Targets:
    """The targets of one tree. Raises DataError where no rollout of it was judged.

    `balanced`: either class has half of the tree's weight (the paper's oversampling, without the copies); a tree with one class
    stays as it is. `independent`: as if only the rollouts from the prompt were there.
    """
    found = outcomes(tree, independent)
    if not len(found.rows):
        raise DataError("a tree has no judged rollouts")
    made = _binary(tree, found) if kind == "binary" else _soft(tree, found)
    return _balance(made) if balanced else made


def _binary(tree: Tree, found: Outcomes) -> Targets:
    share = found.counts / tree.depth[found.leaves]
    positive = _sums_above(tree, found.leaves, share * found.correct)
    weights = _sums_above(tree, found.leaves, share)
    return _normalised(tree, positive, weights)


def _soft(tree: Tree, found: Outcomes) -> Targets:
    evidence = found.counts * ~_is_trunk(tree, found)
    through = _sums_above(tree, found.leaves, evidence)
    through_positive = _sums_above(tree, found.leaves, evidence * found.correct)
    anyone = _sums_above(tree, found.leaves, found.counts)
    anyone_positive = _sums_above(tree, found.leaves, found.counts * found.correct)
    resampled = {
        int(fork): (evidence[found.forks == fork].sum(), (evidence * found.correct)[found.forks == fork].sum())
        for fork in np.unique(found.forks)
        if fork != ROOT and evidence[found.forks == fork].any()
    }
    # A node's length is the mean of those of the rollouts through it, so that its weight does not depend on their number.
    weights = _sums_above(tree, found.leaves, found.counts / tree.depth[found.leaves]) / np.maximum(anyone, 1)
    nearest = _nearest_below(tree, set(resampled))
    labels = np.zeros(len(tree))
    for node in range(len(tree)):
        if nearest[node] != ROOT:
            total, correct = resampled[int(nearest[node])]
            labels[node] = correct / total
        elif through[node]:
            labels[node] = through_positive[node] / through[node]
        elif anyone[node]:
            labels[node] = anyone_positive[node] / anyone[node]
            weights[node] *= TRUNK_WEIGHT
    return _normalised(tree, labels * weights, weights)


def _is_trunk(tree: Tree, found: Outcomes) -> np.ndarray:
    """Which of the rollouts [R] is the one that others were forked off: from the prompt, through every fork."""
    forks = {int(fork) for fork in found.forks if fork != ROOT}
    if not forks:
        return np.zeros(len(found.rows), bool)
    return np.asarray(
        [
            fork == ROOT and correct and forks <= set(tree.path(int(leaf)).tolist())
            for fork, leaf, correct in zip(found.forks, found.leaves, found.correct, strict=True)
        ],
        bool,
    )


def _nearest_below(tree: Tree, forks: set[int]) -> np.ndarray:
    """For every node the least deep of `forks` at or below it, ROOT if there is none, [nodes]."""
    nearest = np.full(len(tree), ROOT)
    parents = tree.nodes.parent
    for fork in sorted(forks, key=tree.depth_of, reverse=True):
        node = fork
        while node != ROOT:
            nearest[node] = fork
            node = int(parents[node])
            if node in forks:
                break
    return nearest


def _sums_above(tree: Tree, leaves: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """For every node the sum of `numbers` [R] over the rollouts whose path it is on, [nodes]."""
    sums = np.zeros(len(tree))
    np.add.at(sums, leaves, numbers)
    totals, parents = sums.tolist(), tree.nodes.parent.tolist()
    for node in range(len(totals) - 1, -1, -1):
        if parents[node] != ROOT:
            totals[parents[node]] += totals[node]
    return np.asarray(totals)


def _normalised(tree: Tree, positive: np.ndarray, weights: np.ndarray) -> Targets:
    labels = np.divide(positive, weights, out=np.zeros(len(tree)), where=weights > 0)
    return Targets(np.clip(labels, 0, 1), weights / weights.sum())


def _balance(made: Targets) -> Targets:
    positive, negative = made.weights * made.labels, made.weights * (1 - made.labels)
    if not positive.sum() or not negative.sum():
        return made
    positive, negative = positive / (2 * positive.sum()), negative / (2 * negative.sum())
    weights = positive + negative
    return Targets(np.divide(positive, weights, out=np.zeros_like(weights), where=weights > 0), weights)
