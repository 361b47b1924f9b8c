"""Policies: which candidates go on, which are dropped, and where new ones begin.

A policy is a pure function of a `View` of the tree to `children`: for each node, how many samples grow from it next. A live leaf
that holds m samples goes on unchanged with m, is dropped with 0, and forks with more; any other node forks there; the root, the
last entry, starts fresh candidates. Policies know no model and no torch. At least one candidate always survives. Here are those
that stop and prune; those that go back to earlier nodes, or weigh candidates against each other, are in tree_policies.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from .errors import SettingsError
from .tree import Ended


@dataclass(frozen=True)
class View:
    """The tree as a policy sees it. All arrays have one entry a node and the root's at the end, so that -1 is the root's index.

    parent, depth; logprob, sample_logprob: the token's own, under the model and under the sampling settings, so that one less the
    sum of exp(sample_logprob) over a node's children is the chance that a sample from it leaves the tree; value: the scorer's
    (NaN where unscored); live, finished, dropped: samples that end here and may still grow, or got to their end, or were stopped
    or pruned, so that their sums below a node count the samples that ever passed through it; tie: uniform numbers, the same for
    the same path and seed whatever the order of the nodes. population: samples that the search was asked for. tokens_left: what
    the budget still allows (None: no budget). rng: for policies that draw.
    """

    parent: np.ndarray
    depth: np.ndarray
    logprob: np.ndarray
    sample_logprob: np.ndarray
    value: np.ndarray
    live: np.ndarray
    finished: np.ndarray
    dropped: np.ndarray
    tie: np.ndarray
    population: int
    tokens_left: int | None = None
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    @property
    def begun(self) -> int:
        """Samples begun so far, whatever became of them."""
        return int(self.live.sum() + self.finished.sum() + self.dropped.sum())

    @property
    def places(self) -> int:
        """What the finished samples leave of the population, at least 1."""
        return max(self.population - int(self.finished.sum()), 1)

    def best_first(self) -> np.ndarray:
        """Nodes with live samples, the most promising first; unscored ones last; ties by the seed. Shape [nodes with live
        samples].
        """
        leaves = np.flatnonzero(self.live)
        scores = np.nan_to_num(self.value[leaves], nan=-np.inf)
        return leaves[np.lexsort((self.tie[leaves], -scores))]


@runtime_checkable
class Policy(Protocol):
    """`reason` is recorded for the candidates that it drops. `revisits` says whether it may grow from nodes that are no live
    leaves; such a policy is also asked when no candidate is live, and ends the search by returning no children then. It has to
    bound the samples that it begins (`View.begun`): a budget does not, since a sample that repeats known tokens costs none.
    """

    reason: Ended
    revisits: bool

    def __call__(self, view: View) -> np.ndarray:
        """View -> children, int, shape [nodes + 1]."""


@dataclass(frozen=True)
class BestOfN:
    """All candidates go on to their end."""

    reason = Ended.PRUNED
    revisits = False

    def __call__(self, view: View) -> np.ndarray:
        return view.live.copy()


@dataclass(frozen=True)
class EarlyStop:
    """Stop a candidate whose value is below a threshold, or far below the best one's.

    `threshold` maps the number of generated tokens [k] to the least value that goes on [k] (`ThresholdCurve`), or is one number
    for all. `slack`, the relative rule: a candidate stops where its value is more than this below the best among the live and the
    finished ones; those that were stopped do not count. Unscored candidates go on. Where all would stop and none has finished,
    the best goes on.
    """

    threshold: float | Callable[[np.ndarray], np.ndarray] = field(
        default=-np.inf, metadata={"about": "Candidates that score less are stopped."}
    )
    slack: float = field(default=np.inf, metadata={"about": "Candidates that score so much less than the best are stopped."})
    reason = Ended.STOPPED
    revisits = False

    def __call__(self, view: View) -> np.ndarray:
        order = view.best_first()
        if not len(order):
            return view.live.copy()
        least = self.threshold(view.depth[order]) if callable(self.threshold) else np.full(len(order), self.threshold)
        known = view.value[(view.live > 0) | (view.finished > 0)]
        best = np.max(known[~np.isnan(known)], initial=-np.inf)
        stop = (view.value[order] < least) | (view.value[order] < best - self.slack)  # False for NaN: the unscored go on
        if stop.all() and not view.finished.any():
            stop[0] = False
        children = view.live.copy()
        children[order[stop]] = 0
        return children


@dataclass(frozen=True)
class ThresholdCurve:
    """A threshold for `EarlyStop`: `values` at so many generated `tokens`, straight lines between them, none before the first
    (nothing stops there), the last value behind the last.

    `fitted_every`, where it was fitted to a value model's values: for checks every so many tokens. It is a condition, no part of
    what the curve does, by whose repr results are named.
    """

    tokens: tuple[int, ...]
    values: tuple[float, ...]
    fitted_every: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.tokens or len(self.tokens) != len(self.values) or any(np.diff(self.tokens) <= 0):
            raise SettingsError("a threshold curve has one value for each number of tokens, and these increase")

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return np.interp(tokens, self.tokens, self.values, left=-np.inf)

    def serves(self, check_every: int | None) -> bool:
        """Whether what it was fitted for holds with checks every so many tokens, None: at lines."""
        return self.fitted_every is None or (check_every or 1) % self.fitted_every == 0


@dataclass(frozen=True)
class Beam:
    """Beam pruning: the `width` most promising leaves share the population evenly, the rest are dropped."""

    width: int = field(default=4, metadata={"about": "The best so many candidates are kept, and share the places of all."})
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise SettingsError(f"a beam must be at least 1 wide, not {self.width}")

    def __call__(self, view: View) -> np.ndarray:
        children = np.zeros_like(view.live)
        share_evenly(children, view.best_first()[: self.width], view.places)
        return children


def share_evenly(children: np.ndarray, best: np.ndarray, places: int) -> None:
    """Give `places` children to the nodes `best`, as evenly as can be, the first ones more. children [nodes + 1] is changed,
    best [k] are places in it.
    """
    if len(best):
        best = best[:places]
        share, extra = divmod(places, len(best))
        children[best] = share
        children[best[:extra]] += 1


@dataclass(frozen=True)
class SpeculativeRejection:
    """The least promising fraction `alpha` of the live samples is dropped (Sun et al., "Fast best-of-N decoding via speculative
    rejection", 2024)."""

    alpha: float = field(default=0.5, metadata={"about": "The share of the growing candidates that is dropped at each check."})
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1:
            raise SettingsError(f"the rejected fraction must be from 0 to below 1, not {self.alpha}")

    def __call__(self, view: View) -> np.ndarray:
        children = view.live.copy()
        rejected = int(self.alpha * int(view.live.sum()))
        for leaf in view.best_first()[::-1].tolist():
            dropped = min(rejected, int(children[leaf]))
            children[leaf] -= dropped
            rejected -= dropped
        return children
