"""What the search asks of a language model: the interface that every backend implements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .errors import SettingsError
from .sampling import Sampling
from .tree import Tree


class Session(Protocol):
    """One prompt's tree and the caches that mirror it; made by `LanguageModel.open`, given back by `close`."""

    tree: Tree


@dataclass(frozen=True)
class Prompt:
    """Token ids to begin from. `reader_ids`: the same prompt in the tokens of `reader_tokenizer`, for a model that has one.

    `room`: the most tokens that any answer to it may have. A model that reads long texts by other numbers than short ones
    (LongRoPE) chooses by it, once, so that no search changes them on its way.
    """

    token_ids: Sequence[int]
    reader_ids: Sequence[int] | None = None
    room: int = 0


@dataclass(frozen=True)
class Growth:
    """Samples to draw in one session: sample i continues `leaves[i]` (a node or the root) for at most `tokens` tokens.

    `streams` [N] are the samples' random streams (randomness.py). A sample ends early at one of `stop_ids`.
    """

    session: Session
    leaves: np.ndarray
    streams: np.ndarray
    tokens: int


@dataclass(frozen=True)
class Statistics:
    """A model's work so far, and what it holds now.

    `passes`: forward passes, prompts included. `scoring_seconds`: what values took (on a GPU: to launch), NaN where nobody can
    tell. `cached_tokens`: generated tokens whose keys and values are held. `prefix_bytes`: memory of prompts that are kept
    between sessions. `in_process`: whether all of it is done, and held, by this process.
    """

    passes: int = 0
    scoring_seconds: float = 0.0
    cached_tokens: int = 0
    prefix_bytes: int = 0
    in_process: bool = True


class LanguageModel:
    """Token ids in, token ids out. Advancing adds nodes to the sessions' trees, with their log-probabilities.

    What `advance` does not fill of a node's columns, `read` does, for the nodes that are asked about: the value, and whatever a
    second model that reads the tree may add. Such a model keeps a session of its own beside the generator's.
    """

    vocabulary_size: int
    max_length: int  # tokens of a prompt and its answer together
    limit: str = "this model's context"  # what sets it
    scores: bool = False  # whether `read` fills the nodes' values
    reads: bool = False  # whether `read` fills what a reader thinks of the nodes
    forks: bool = True  # whether samples may begin at any node
    reader_tokenizer: Any = None  # of a model that reads the answers in tokens of its own

    @property
    def statistics(self) -> Statistics:
        return Statistics()

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> Session:
        """Read a prompt once, whatever the number of candidates that will grow below it. Raises ContextError where it leaves no
        room for an answer.
        """
        raise NotImplementedError

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """Grow all samples of all sessions in one batch, by one token or up to `tokens`. Returns each growth's new leaves [N]; a
        sample for which there is no token yet keeps its leaf.

        Raises ContextError where a sample has no room for a further token.
        """
        raise NotImplementedError

    def cut(self, session: Session, stream: int) -> bool:
        """Whether a sample that has not ended can get no further token, as at the longest answer allowed."""
        return False

    def read(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        """Fill the columns that are computed on demand, at the given nodes and on the paths to them, each once."""

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        """Free the caches of all nodes that are not on the paths to `leaves`; they can still be grown, at the price of reading
        them anew.
        """

    def close(self, session: Session) -> None:
        """Free all caches of a session. Its tree stays."""

    # -- what not every backend can do

    def logprobs(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> np.ndarray:
        """Log-probabilities [T], under the model at temperature 1, of the T tokens of an answer that it need not have written.

        Raises SettingsError where the backend cannot read such answers, ContextError.
        """
        raise SettingsError("this backend cannot read a text that it did not write")

    def hold_prefixes(self, max_bytes: int) -> None:
        """Keep prompts between sessions, up to so many bytes; 0, as at first, keeps none. Backends with a prefix cache of their
        own do as they always do.
        """

    def hold(self, session: Session, leaf: int) -> None:
        """Keep the session's prompt with its answer up to `leaf`, for a prompt that goes on from there; before `close`."""

    def end(self) -> None:
        """End what was started for this model, such as other processes; nothing can be done with it any more."""
