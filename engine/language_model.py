"""What the search asks of a language model: the interface that every backend implements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from .sampling import Sampling
from .tree import Tree


class Session(Protocol):
    """One prompt's tree and the caches that mirror it; made by `LanguageModel.open`, given back by `close`."""

    tree: Tree


@dataclass(frozen=True)
class Growth:
    """Samples to draw in one session: sample i continues `leaves[i]` (a node or the root) for at most `tokens` tokens.

    `streams` [N] are the samples' random streams (randomness.py). A sample ends early at one of `stop_ids`.
    """

    session: Session
    leaves: np.ndarray
    streams: np.ndarray
    tokens: int


class LanguageModel(Protocol):
    """Token ids in, token ids out. Advancing adds nodes to the sessions' trees, with their log-probabilities."""

    vocabulary_size: int
    max_length: int
    scores: bool  # whether `read_values` fills the nodes' values

    def open(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> Session:
        """Read a prompt once, whatever the number of candidates that will grow below it."""

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """Grow all samples of all sessions in one batch, by one token or up to `tokens`. Returns each growth's new leaves [N]."""

    def read_values(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        """Fill `tree.nodes.value` at the given nodes and on the paths to them."""

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        """Free the caches of all nodes that are not on the paths to `leaves`; they can still be grown, at the price of reading
        them anew.
        """

    def close(self, session: Session) -> None:
        """Free all caches of a session. Its tree stays."""


@runtime_checkable
class ReadsAnswers(Protocol):
    """A language model that can also read an answer that it did not write."""

    def logprobs(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> np.ndarray:
        """Log-probabilities [T], under the model at temperature 1, of the T tokens of an answer to the prompt."""
