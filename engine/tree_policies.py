"""Policies from tree search: those that weigh candidates against each other, and those that go back to earlier nodes.

Like all policies they are pure functions of a `View` and keep nothing between checks: what a search "remembers" is the tree. A
sample's worth is always the value at its last token so far. Each class says where it departs from its source.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from .errors import SettingsError
from .policies import SpeculativeRejection, View, share_evenly
from .tree import Ended

_CLOSED = 1e-3
"""Where a new sample leaves the known tokens with at most this chance, there is nothing left to draw."""


@dataclass(frozen=True)
class DVTS:
    """Diverse verifier tree search: beam pruning inside `subtrees` independent subtrees, `width` leaves in each.

    Beeching, Tunstall and Rush, "Scaling test-time compute with open models", 2024. There the subtrees are the beams of the first
    step. Here equal tokens are one node, so they begin at the first depth at which the tree is `subtrees` nodes wide; the nodes
    at this depth are dealt to them in turn. While the tree is narrower, there are as many subtrees as nodes. A subtree's share of
    the population stays its own, whatever the others do.
    """

    subtrees: int = field(default=4, metadata={"about": "Parts of the tree that are searched apart from each other."})
    width: int = field(default=1, metadata={"about": "The best so many candidates are kept in each of them."})
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        if self.subtrees < 1 or self.width < 1:
            raise SettingsError("there must be 1 or more subtrees, each 1 or more wide")

    def __call__(self, view: View) -> np.ndarray:
        children = np.zeros_like(view.live)
        best = view.best_first()
        if not len(best):
            return children
        subtree, count = self._subtrees(view)
        places = view.places
        for number in dict.fromkeys(subtree[best].tolist()):  # that with the best leaf first, should places run out
            share = view.population // count + (number < view.population % count)
            share = max(share - int(view.finished[subtree == number].sum()), 1)
            given = min(share, places)
            if given:
                share_evenly(children, best[subtree[best] == number][: self.width], given)
            places -= given
        return children

    def _subtrees(self, view: View) -> tuple[np.ndarray, int]:
        """The subtree of each node (-1 above them), [nodes + 1], and how many there are.

        All live leaves are at the chosen depth or below it, so that the nodes at this depth are the same ever after.
        """
        reached = int(view.depth[view.live > 0].min())
        wide = np.flatnonzero(np.bincount(view.depth)[: reached + 1] >= self.subtrees)
        level = int(wide[wide > 0][0]) if (wide > 0).any() else reached
        tree = _Ordered.of(view)
        roots = np.flatnonzero(view.depth[tree.order] == level)
        count = min(self.subtrees, len(roots))
        own = dict(zip(roots.tolist(), (np.arange(len(roots)) % count).tolist(), strict=True))
        found = [-1] * len(tree.order)
        for node, parent in enumerate(tree.parent):
            found[node] = own.get(node, found[parent])
        return tree.back(np.asarray(found)), count


@dataclass(frozen=True)
class REBASE:
    """Reward-balanced search: the leaves get children in proportion to softmax(value / `temperature`).

    Wu, Sun, Li, Welleck and Yang, "Inference scaling laws", 2024, whose temperature is 0.1. Instead of rounding each share, which
    can miss the population, the places are apportioned by largest remainders; equal answers are one leaf.
    """

    temperature: float = field(default=0.1, metadata={"about": "The lower it is, the more places the best candidates get."})
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(self, view: View) -> np.ndarray:
        children = np.zeros_like(view.live)
        best = view.best_first()
        if len(best):
            exact = view.places * _softmax(view.value[best], self.temperature)
            given = np.floor(exact).astype(np.int64)
            missing = view.places - int(given.sum())
            given[np.argsort(given - exact, kind="stable")[:missing]] += 1
            children[best] = given
        return children


@dataclass(frozen=True)
class ParticleFilter:
    """The live samples are drawn anew with weights softmax(value / `temperature`), so that each gets its share in expectation.

    Puri et al., "Rollout roulette: a probabilistic inference approach to inference-time scaling of LLMs using particle-based
    Monte Carlo methods", 2025, with systematic resampling (one uniform number, the least variance). Finished samples keep their
    places instead of being resampled; weights are exponentials of the value, not its odds, so that any scorer will do.
    """

    temperature: float = field(default=0.1, metadata={"about": "The lower it is, the likelier the best candidates are drawn."})
    reason = Ended.PRUNED
    revisits = False

    def __post_init__(self) -> None:
        _check_temperature(self.temperature)

    def __call__(self, view: View) -> np.ndarray:
        children = np.zeros_like(view.live)
        best = view.best_first()
        if len(best):
            weight = view.live[best] * _softmax(view.value[best], self.temperature)
            passed = np.cumsum(weight) / weight.sum()
            start = copy.deepcopy(view.rng).random()  # a copy: asked twice, a policy says the same
            drawn = np.searchsorted(passed, (start + np.arange(view.places)) / view.places, side="right")
            children[best] = np.bincount(np.minimum(drawn, len(best) - 1), minlength=len(best))
        return children


@dataclass(frozen=True)
class ForkingSearch:
    """Replaces what it drops by new samples at earlier nodes where another token was likely and the value is still high.

    The fraction `alpha` of the live samples that is least promising is dropped. As long as fewer than `total` times the
    population have been begun, live samples are refilled to the population: one at each node where a new sample leaves the
    known tokens with a chance of at least `unlikely`, that is worth at least what the median candidate, live or finished, is, and
    below which some candidate still is; the most promising nodes first. What they do not take begins afresh.

    The forks are those of this project's datasets: at the least likely tokens.
    """

    alpha: float = field(default=0.25, metadata={"about": "The share of the growing candidates that is dropped at each check."})
    unlikely: float = field(default=0.5, metadata={"about": "New candidates begin where another token has at least this chance."})
    total: float = field(default=2.0, metadata={"about": "Candidates begun in all, as a multiple of those asked for."})
    reason = Ended.PRUNED
    revisits = True

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < 1 or not 0 < self.unlikely <= 1 or not 1 <= self.total < np.inf:
            raise SettingsError(
                "forking search takes alpha from 0 to below 1, unlikely above 0 and up to 1, and a finite total of 1 or more"
            )

    def __call__(self, view: View) -> np.ndarray:
        children = SpeculativeRejection(self.alpha)(view)
        missing = int(min(view.population - int(children.sum()), self.total * view.population - view.begun))
        if missing > 0:
            points = self._fork_points(view, kept=children + view.finished)[:missing]
            children[points] += 1
            children[-1] += missing - len(points)
        return children

    def _fork_points(self, view: View, kept: np.ndarray) -> np.ndarray:
        tree = _Ordered.of(view)
        values = view.value[kept > 0]
        values = values[~np.isnan(values)]
        high = np.median(values) if len(values) else -np.inf
        possible = (tree.back(tree.sums(kept)) > 0) & tree.back(tree.inner) & (view.depth > 0)
        possible &= (tree.back(tree.unknown) >= self.unlikely) & (view.value >= high)
        points = np.flatnonzero(possible)
        return points[np.lexsort((view.tie[points], -view.value[points]))]


@dataclass(frozen=True)
class MCTS:
    """Monte Carlo tree search over tokens: each check selects, for every place in the population, a node to grow from.

    From the root a descent takes, at each node, the child with the largest

        Q + exploration * P * sqrt(N(node)) / (1 + N(child))

    where N counts the samples that passed, Q is the mean value of where they are now, scaled to 0 .. 1 over the tree, and P is
    the token's probability. A new token is one more child, with the probability that the known tokens leave over, the node's own
    Q, and a visit for each known token, which was new once; where it is chosen, a sample begins. Descents of one check count each
    other as visits.

    PUCT and back-up: Silver et al., "Mastering the game of Go without human knowledge", 2017; a value model in place of rollouts,
    on language: Feng et al., "AlphaZero-like tree-search can guide large language model decoding and training" (TS-LLM), 2023;
    token probabilities as prior, on programs: Zhang et al., "Planning with large language models for code generation" (PG-TD),
    2023; parallel descents: Liu et al., "Watch the unobserved" (WU-UCT), 2020; scaled Q: Schrittwieser et al., MuZero, 2020.
    Departures: a simulation adds the tokens until the next check, not one token, and draws them from the model instead of trying
    the k best; a sample that is selected again goes on and counts once, with its latest value; complete answers are never
    revisited.

    It plans until `simulations` times the population samples have begun or the share `planning` of the budget is used. Then the
    live samples grow to their end.
    """

    exploration: float = field(default=1.0, metadata={"about": "The higher it is, the more rarely visited tokens are tried."})
    simulations: int = field(default=16, metadata={"about": "Candidates begun while planning, as a multiple of those asked for."})
    planning: float = field(default=0.5, metadata={"about": "The share of the budget that planning may use."})
    reason = Ended.PRUNED
    revisits = True

    def __post_init__(self) -> None:
        if not 0 <= self.exploration < np.inf or self.simulations < 1 or not 0 <= self.planning <= 1:
            raise SettingsError("mcts takes a finite exploration of 0 or more, 1 or more simulations, and planning from 0 to 1")

    def __call__(self, view: View) -> np.ndarray:
        places = view.population - int(view.finished.sum())
        places = min(places, self.simulations * view.population - view.begun)
        used = len(view.parent) - 1
        if view.tokens_left is not None and used >= self.planning * (used + view.tokens_left):
            places = 0
        if places <= 0:
            return view.live.copy()
        descents = _Descents(view, self.exploration)
        chosen = np.zeros_like(view.live)
        for _ in range(places):
            if not descents.exhausted[0]:
                chosen[descents.descend()] += 1
        return descents.tree.back(chosen)


class _Descents:
    """The search tree of one check: `descend` selects a node, in the numbering of `tree`, and counts itself as a visit."""

    def __init__(self, view: View, exploration: float) -> None:
        self.tree = tree = _Ordered.of(view)
        self._exploration = exploration
        ends = view.live + view.finished + view.dropped
        scored = ends * ~np.isnan(view.value)
        total, count = tree.sums(scored * np.nan_to_num(view.value)), tree.sums(scored)
        known = view.value[scored > 0]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        mean = np.divide(total, count, out=np.full(len(total), low), where=count > 0)
        self._q = ((mean - low) / (high - low) if high > low else np.zeros_like(mean)).tolist()
        self._prior = tree.probability.tolist()
        self._unknown = tree.unknown.tolist()
        self._visits = tree.sums(ends).tolist()
        self._children: list[list[int]] = [[] for _ in ends]
        for node in range(1, len(ends)):
            self._children[tree.parent[node]].append(node)
        self._new = [len(below) for below in self._children]
        finished = view.finished[tree.order] > 0
        self.exhausted = [False] * len(ends)
        for node in range(len(ends) - 1, -1, -1):
            below = self._children[node]
            closed = bool(below) and self._unknown[node] <= _CLOSED and all(self.exhausted[child] for child in below)
            self.exhausted[node] = bool(finished[node]) or closed

    def descend(self) -> int:
        node = 0
        while True:
            self._visits[node] += 1
            urge = self._exploration * self._visits[node] ** 0.5
            best, most = -1, -np.inf
            if not self._children[node] or self._unknown[node] > _CLOSED:
                most = self._q[node] + urge * self._unknown[node] / (1 + self._new[node])
            for child in self._children[node]:
                worth = self._q[child] + urge * self._prior[child] / (1 + self._visits[child])
                if worth > most and not self.exhausted[child]:
                    best, most = child, worth
            if best < 0:
                self._new[node] += 1
                return node
            node = best


@dataclass(frozen=True)
class _Ordered:
    """A view's nodes renumbered by depth, then tie: the root is 0, parents come first, and sums do not depend on the numbering
    that the view came with. `order` [nodes + 1]: the view's number of each; the other columns are in the new order.

    probability: of each token, as sampled; unknown: the chance that a sample from here leaves the known tokens; inner: has
    children.
    """

    order: np.ndarray
    parent: list[int]
    probability: np.ndarray
    unknown: np.ndarray
    inner: np.ndarray

    @classmethod
    def of(cls, view: View) -> _Ordered:
        order = np.lexsort((view.tie, view.depth))
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        parent = rank[view.parent[order]]
        probability = np.nan_to_num(np.exp(view.sample_logprob[order].astype(np.float64)))
        known = np.bincount(parent[1:], probability[1:], len(order))
        inner = np.bincount(parent[1:], minlength=len(order)) > 0
        return cls(order, parent.tolist(), probability, np.clip(1 - known, 0, 1), inner)

    def sums(self, column: np.ndarray) -> np.ndarray:
        """Sums of the view's `column` over each node and all below it, in the new order, float64."""
        sums = column[self.order].astype(np.float64).tolist()
        for node in range(len(sums) - 1, 0, -1):
            sums[self.parent[node]] += sums[node]
        return np.asarray(sums)

    def back(self, column: np.ndarray) -> np.ndarray:
        """A column of the new order, in the view's."""
        restored = np.empty_like(column)
        restored[self.order] = column
        return restored


def _softmax(values: np.ndarray, temperature: float) -> np.ndarray:
    """Shares that sum to 1. Unscored candidates get none where others are scored."""
    if np.isnan(values).all():
        return np.full(len(values), 1 / len(values))
    weight = np.nan_to_num(np.exp((values - np.nanmax(values)) / temperature))
    return weight / weight.sum()


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise SettingsError(f"the temperature must be above 0, not {temperature}")
