"""What a search finds, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .data_builder.judge.verdict import FailedTest
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.problem import Problem
from .data_builder.problems.syntax import parse
from .engine.tree import Ended, Tree


@dataclass(frozen=True)
class Likelihood:
    """Of an answer: the probability that it is correct, and the share of the other samples that do the same (None: not known)."""

    probability: float
    agreement: float | None


@dataclass(frozen=True)
class Candidate:
    """One distinct answer. Arrays have one entry a generated token: `token_ids`, `logprobs` (model), `values` (NaN: not scored).

    `score` is the search's scorer at the last token; `multiplicity` counts the samples that gave this same answer; `examples` is
    (passed, shown) of the problem's examples, None where there are none or the answer is incomplete; `failure` is the first of
    them that it failed; `likelihood`: that it is correct, of a complete answer to a problem; `accepted` is what the caller's
    `accept` said of a complete answer; `parses`: whether there is a program in it that is valid Python, True where none was asked
    for. `alternatives`, where sampling asks for them: beside each token the model's most likely ones and their log-probabilities.
    `turn` is 1 of an answer that repairs another, else 0.
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
    failure: FailedTest | None = None
    parses: bool = True
    likelihood: Likelihood | None = None
    alternatives: list[tuple[np.ndarray, np.ndarray]] | None = None
    turn: int = 0

    @cached_property
    def program(self) -> str:
        """The program in `text`."""
        return extract_program(self.text)

    @property
    def complete(self) -> bool:
        return self.ended == Ended.EOS

    @property
    def passes(self) -> bool | None:
        """Whether it passes all examples; None where none was run."""
        return None if self.examples is None else self.examples[0] == self.examples[1]

    @property
    def rank(self) -> tuple[bool, bool, float, float, float]:
        """What candidates are ordered by: is complete, is Python, share of the examples passed, what `accept` said, how likely it
        is to be correct, or else the score.
        """
        share = 1.0 if self.examples is None else self.examples[0] / self.examples[1]
        accepted = -np.inf if self.accepted is None else self.accepted
        best = self.score if self.likelihood is None else self.likelihood.probability
        return self.complete, self.parses, share, accepted, -np.inf if np.isnan(best) else best


def is_python(program: str) -> bool:
    """Whether it is a program at all."""
    try:
        return bool(program.strip()) and bool(parse(program).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


@dataclass(frozen=True, repr=False)
class Solution:
    """What a search found: all candidates, best first, and the tree that holds them. Printed, it is a short table; in a notebook,
    the page that shows the search.

    `problem`: whose examples the candidates were run on, in a sandbox of the level `isolation`. `repair`: the search after the
    first, where there was one; its answers are among the candidates.
    """

    candidates: list[Candidate]
    tree: Tree
    prompt_tokens: int
    decoded_tokens: int
    seconds: float
    isolation: str | None
    problem: Problem | None = None
    tokenizer: Any = field(default=None, compare=False)
    repair: Solution | None = None

    @property
    def best(self) -> Candidate:
        return self.candidates[0]

    @property
    def program(self) -> str:
        return self.best.program

    @property
    def trees(self) -> list[Tree]:
        """Of the search and of the repair after it; a candidate's `rollout` is a row of the one at its `turn`."""
        return [self.tree] if self.repair is None else [self.tree, *self.repair.trees]

    @property
    def examples(self) -> int:
        """Examples that complete candidates are run on."""
        return 0 if self.problem is None else len(self.problem.tests)

    @property
    def passing(self) -> int | None:
        """Samples that pass all examples; None where none was run."""
        judged = [c for c in self.candidates if c.passes is not None]
        return sum(c.multiplicity for c in judged if c.passes) if judged else None

    def __repr__(self) -> str:
        head = f"{len(self.candidates)} candidates, {self.decoded_tokens} tokens in {self.seconds:.1f} s"
        rows = [("", "score", "examples", "times", "tokens", "ended", "begins with")]
        for place, one in enumerate(self.candidates, 1):
            passed = "" if one.examples is None else f"{one.examples[0]} of {one.examples[1]}"
            first = next(iter(one.program.strip().splitlines()), "")[:50]
            numbers = f"{one.score:.2f}", passed, str(one.multiplicity), str(len(one.token_ids))
            rows.append((str(place), *numbers, one.ended.name.lower(), first))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        from .page import frame, page
        from .search_page_data import search_data

        statement = None if self.problem is None else self.problem.statement
        return frame(page([search_data(tree, self.tokenizer, statement) for tree in self.trees], title="guided-gen"))


@dataclass(frozen=True)
class Progress:
    """After each step: samples still growing and complete, tokens decoded, seconds, and the best score so far (NaN: none)."""

    live: int
    finished: int
    decoded_tokens: int
    seconds: float
    best_score: float

    def __str__(self) -> str:
        speed = self.decoded_tokens / max(self.seconds, 1e-6)
        best = "" if np.isnan(self.best_score) else f" · best score {self.best_score:.2f}"
        return (
            f"{self.live} candidates growing, {self.finished} complete · {self.decoded_tokens} tokens, {speed:.0f} a second{best}"
        )


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
class Standing:
    """How a sample stands. `leaf`: its last node so far, -1 before the first; `fork`: the node that it began at. `state`: grows,
    pruned, stopped, cut (the longest answer allowed), runs (is complete, and being checked), and then passes or fails (the
    examples), or complete where there are none. `score`: None where nobody knows it yet. `examples`: (passed, shown), once known.
    """

    leaf: int
    fork: int
    state: str
    score: float | None
    probability: float | None
    examples: tuple[int, int] | None


@dataclass(frozen=True)
class Grown:
    """For who watches: the tree's nodes from `begin` on, which are new, each with its parent and token, and all samples in the
    order in which they began.
    """

    begin: int
    parents: list[int]
    token_ids: list[int]
    samples: list[Standing]


@dataclass(frozen=True)
class Solved:
    """The last event of every search."""

    solution: Solution


Event = Progress | Finished | Settled | Grown | Solved
