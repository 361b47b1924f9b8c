"""Policies: which candidates go on, which are dropped, and where new ones begin.

A policy is a pure function of a `View` of the tree to `children`: for each node, how many samples grow from it next. A live leaf
that holds m samples goes on unchanged with m, is dropped with 0, and forks with more; any other node forks there; the root, the
last entry, starts fresh candidates. Policies know no model and no torch. At least one candidate always survives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np

from .errors import GuidedGenError
from .tree import Ended


@dataclass(frozen=True)
class View:
    """The tree as a policy sees it. All arrays have one entry a node and the root's at the end, so that -1 is the root's index.

    parent, depth; logprob: the token's own; value: the scorer's (NaN where unscored); live, finished: samples that end here and
    may still grow, or are complete; tie: uniform numbers, the same for the same path and seed whatever the order of the nodes.
    population: samples that the search was asked for. tokens_left: what the budget still allows (None: no budget).
    """

    parent: np.ndarray
    depth: np.ndarray
    logprob: np.ndarray
    value: np.ndarray
    live: np.ndarray
    finished: np.ndarray
    tie: np.ndarray
    population: int
    tokens_left: int | None = None
    rng: np.random.Generator | None = None

    def best_first(self) -> np.ndarray:
        """Nodes with live samples, the most promising first; unscored ones last; ties by the seed."""
        leaves = np.flatnonzero(self.live)
        scores = np.nan_to_num(self.value[leaves], nan=-np.inf)
        return leaves[np.lexsort((self.tie[leaves], -scores))]


class Policy(Protocol):
    """`reason` is recorded for the candidates that it drops; `revisits` says whether it may grow from nodes that are no live
    leaves.
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

    `threshold` maps the number of generated tokens [k] to the least value that goes on [k], or is one number for all. `slack` is
    the distance below the best candidate's value, live or finished, at which one stops.
    """

    threshold: float | Callable[[np.ndarray], np.ndarray] = -np.inf
    slack: float = np.inf
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
class Beam:
    """Beam pruning: the `width` most promising leaves share the population evenly, the rest are dropped."""

    width: int = 4
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        if self.width < 1:
            raise PolicyError(f"a beam must be at least 1 wide, not {self.width}")

    def __call__(self, view: View) -> np.ndarray:
        children = np.zeros_like(view.live)
        kept = view.best_first()[: self.width]
        if len(kept):
            places = max(view.population - int(view.finished.sum()), 1)
            kept = kept[:places]
            share, extra = divmod(places, len(kept))
            children[kept] = share
            children[kept[:extra]] += 1
        return children


@dataclass(frozen=True)
class SpeculativeRejection:
    """The least promising fraction `alpha` of the live samples is dropped (Sun et al., "Fast best-of-N decoding via speculative
    rejection", 2024)."""

    alpha: float = 0.5
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1:
            raise PolicyError(f"the rejected fraction must be from 0 to below 1, not {self.alpha}")

    def __call__(self, view: View) -> np.ndarray:
        children = view.live.copy()
        rejected = int(self.alpha * int(view.live.sum()))
        for leaf in view.best_first()[::-1].tolist():
            dropped = min(rejected, int(children[leaf]))
            children[leaf] -= dropped
            rejected -= dropped
        return children


class PolicyError(GuidedGenError):
    """A policy's name or setting that makes no sense."""


POLICIES: dict[str, type[Policy]] = {
    "best-of-n": BestOfN,
    "early-stop": EarlyStop,
    "beam": Beam,
    "speculative-rejection": SpeculativeRejection,
}


def policy_named(text: str) -> Policy:
    """A policy from its name and settings, as a user writes them: "beam", "beam:width=4",
    "early-stop:threshold=0.2,slack=0.3".
    """
    name, _, settings = text.partition(":")
    if name not in POLICIES:
        raise PolicyError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
    kind = POLICIES[name]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    chosen: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            raise PolicyError(f"policy {name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        try:
            chosen[key] = int(value) if known[key].type == "int" else float(value)
        except ValueError:
            raise PolicyError(f"policy {name} takes a number as {key}, not {value!r}") from None
    return kind(**chosen)
