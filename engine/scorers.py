"""Scorers: how promising each node of a tree looks, higher is better. Policies and the final ranking compare what they return.

A scorer reads only the tree's columns, so that any tree, live or stored, can be scored. The names here are those of search,
benchmarks and evaluation alike; `OF_ANSWERS` are of scores that take a whole answer's text, or the statement alone, and that
others compute.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .errors import SettingsError
from .tree import Tree


class Scorer(Protocol):
    """Maps a tree to one score a node, shape [nodes]; NaN where a node has none."""

    def __call__(self, tree: Tree) -> np.ndarray: ...


def value(tree: Tree) -> np.ndarray:
    """The value model's probability that the answer ends up correct. Shape [nodes], NaN where it was not read."""
    return tree.nodes.value.astype(np.float64)


def mean_logprob(tree: Tree) -> np.ndarray:
    """Mean log-probability of the answer's tokens under the model, the strongest score that needs no training. Shape [nodes],
    in nats.
    """
    return tree.logprob_sum / np.maximum(tree.depth, 1)


def self_certainty(tree: Tree) -> np.ndarray:
    """Mean divergence of the next-token distributions from the uniform one (Kang et al., "Scalable best-of-N selection ... via
    self-certainty", 2025). Shape [nodes], in nats.
    """
    return tree.path_means(tree.nodes.certainty)


def shortness(tree: Tree) -> np.ndarray:
    """The negative number of generated tokens: the shortcut that any claim has to beat. Shape [nodes]."""
    return -tree.depth.astype(np.float64)


def reader(tree: Tree) -> np.ndarray:
    """Mean log-probability of the answer's tokens under a second model. Shape [nodes], in nats; NaN where it did not read."""
    return tree.path_means(tree.nodes.reader_logprob)


def log_ratio(tree: Tree) -> np.ndarray:
    """The same less the generator's own: what the reader finds likelier than who wrote it. Shape [nodes], in nats."""
    return tree.path_means(tree.nodes.reader_logprob - tree.nodes.logprob)


VALUE, LOGPROB, CERTAINTY, LENGTH = "value", "logprob", "self-certainty", "length"
READER, LOG_RATIO = "reader", "log-ratio"
OF_READERS = (READER, LOG_RATIO)
"""Scores that take a reader: a second model that reads the answers."""
SCORERS: dict[str, Scorer] = {
    VALUE: value,
    LOGPROB: mean_logprob,
    CERTAINTY: self_certainty,
    LENGTH: shortness,
    READER: reader,
    LOG_RATIO: log_ratio,
}
PARSES, P_TRUE, RATING, STATEMENT = "ended-and-parses", "p-true", "rating", "statement"
OF_ANSWERS = (PARSES, P_TRUE, RATING, STATEMENT)


ScorerLike = Scorer | str


def as_scorer(scorer: ScorerLike) -> Scorer:
    """A scorer by its name; any function of a tree as it is. Raises SettingsError."""
    if isinstance(scorer, str):
        return scorer_named(scorer)
    if not callable(scorer):
        raise SettingsError(f"a scorer is one of {', '.join(sorted(SCORERS))}, or a function of a tree; not {scorer!r:.80}")
    return scorer


def scorer_named(name: str) -> Scorer:
    """One that can guide a search. Raises SettingsError for any other name."""
    if name in OF_ANSWERS:
        raise SettingsError(f"the scorer {name} reads whole answers: it ranks them, and cannot guide a policy")
    if name not in SCORERS:
        raise SettingsError(f"there is no scorer {name!r}; there are {', '.join(sorted(SCORERS))}")
    return SCORERS[name]
