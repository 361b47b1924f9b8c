"""What a search finds, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .data_builder.problems.extraction import extract_program
from .engine.tree import Ended, Tree


@dataclass(frozen=True)
class Candidate:
    """One distinct answer. Arrays have one entry a generated token: `token_ids`, `logprobs` (model), `values` (NaN: not scored).

    `score` is the search's scorer at the last token; `multiplicity` counts the samples that gave this same answer; `examples` is
    (passed, shown) of the statement's examples, None where the statement shows none or the answer is incomplete; `accepted` is
    what the caller's `accept` said of a complete answer.
    """

    text: str
    token_ids: np.ndarray
    logprobs: np.ndarray
    values: np.ndarray
    score: float
    ended: Ended
    multiplicity: int
    examples: tuple[int, int] | None
    rollout: int
    accepted: float | None = None

    @cached_property
    def program(self) -> str:
        """The program in `text`."""
        return extract_program(self.text)

    @property
    def complete(self) -> bool:
        return self.ended == Ended.EOS

    @property
    def rank(self) -> tuple[bool, bool, float, float]:
        """What candidates are ordered by: passes every example shown, is complete, what `accept` said, score."""
        passes = self.examples is None or self.examples[0] == self.examples[1]
        accepted = -np.inf if self.accepted is None else self.accepted
        return passes and self.complete, self.complete, accepted, -np.inf if np.isnan(self.score) else self.score


@dataclass(frozen=True)
class Solution:
    """What a search found: all candidates, best first, and the tree that holds them."""

    candidates: list[Candidate]
    tree: Tree
    prompt_tokens: int
    decoded_tokens: int
    seconds: float
    isolation: str | None

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    @property
    def program(self) -> str:
        return self.best.program

    @property
    def passing(self) -> int | None:
        """Samples that pass all examples of the statement; None where it shows none."""
        judged = [c for c in self.candidates if c.examples is not None]
        return sum(c.multiplicity for c in judged if c.examples and c.examples[0] == c.examples[1]) if judged else None


@dataclass(frozen=True)
class Progress:
    """After each step: samples still growing and complete, tokens decoded, seconds, and the best score so far (NaN: none)."""

    live: int
    finished: int
    decoded_tokens: int
    seconds: float
    best_score: float


@dataclass(frozen=True)
class Finished:
    """A candidate is complete; where the statement shows examples, they are being run."""

    text: str

    @cached_property
    def program(self) -> str:
        """The program in `text`."""
        return extract_program(self.text)


@dataclass(frozen=True)
class Settled:
    """Further text of the best answer, never taken back: all candidates that may still be best agree on it. The texts of all
    these events together are the best answer's.
    """

    text: str


@dataclass(frozen=True)
class Solved:
    """The last event of every search."""

    solution: Solution


Event = Progress | Finished | Settled | Solved
