"""The front door: a problem's text in, the best program that the search finds out.

generator = GuidedGenerator.from_pretrained()
print(generator.solve("Write a function f(x) that doubles x.\\n\\nf(2) == 4").program)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from .data_builder.extraction import extract_program
from .data_builder.judge import Judge
from .data_builder.plain_text import problem_from_statement
from .data_builder.problem import Problem
from .data_builder.prompts import DEFAULT_TEMPLATE, PromptTemplate, prompt_ids
from .data_builder.verdict import Verdict
from .engine.loading import LoadedModel, line_end_ids, load_model
from .engine.model_sources import DEFAULT_MODEL
from .engine.search import Search, SearchSettings, advance_round
from .engine.tree import Ended, Tree


@dataclass(frozen=True)
class Candidate:
    """One distinct answer. Arrays have one entry a generated token: `token_ids`, `logprobs` (model), `values` (NaN: not scored).

    `score` is the search's scorer at the last token; `multiplicity` counts the samples that gave this same answer; `examples` is
    (passed, shown) of the statement's examples, None where the statement shows none or the answer is incomplete.
    """

    text: str
    program: str
    token_ids: np.ndarray
    logprobs: np.ndarray
    values: np.ndarray
    score: float
    ended: Ended
    multiplicity: int
    examples: tuple[int, int] | None
    rollout: int

    @property
    def complete(self) -> bool:
        return self.ended == Ended.EOS

    @property
    def rank(self) -> tuple[bool, bool, float]:
        """What candidates are ordered by: passes every example shown, is complete, score."""
        passes = self.examples is None or self.examples[0] == self.examples[1]
        return passes and self.complete, self.complete, -np.inf if np.isnan(self.score) else self.score


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
    program: str


@dataclass(frozen=True)
class Solved:
    """The last event of every search."""

    solution: Solution


Event = Progress | Finished | Solved


class GuidedGenerator:
    """A loaded model that solves problems. Safe to use from several threads: their searches take turns, step by step."""

    def __init__(self, loaded: LoadedModel, template: PromptTemplate = DEFAULT_TEMPLATE, value_tokenizer: Any = None) -> None:
        """`value_tokenizer`: of the base of a value model that reads the answers' text (`valuemodel.text_scorer`)."""
        self.loaded = loaded
        self.template = template
        self._value_tokenizer = value_tokenizer
        self._turn = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        precision: str = "auto",
        value: str | Path | None = None,
        value_base: str | None = None,
    ) -> GuidedGenerator:
        """Load a model by name, folder, GGUF file or hub id (see `load_model`).

        `value` is the folder of a value model for it. `value_base`: where a text scorer's base is, if not where its name says.
        """
        if value is None:
            return cls(load_model(model, precision))
        from .valuemodel.attach import Prompts, load_scored_model

        template = DEFAULT_TEMPLATE
        loaded, value_tokenizer = load_scored_model(model, precision, value, Prompts(template.name, template.hash), value_base)
        return cls(loaded, template, value_tokenizer)

    def solve(self, problem: str | Problem, settings: SearchSettings | None = None, **changes: Any) -> Solution:
        """Search for an answer. `changes` replace single fields of `settings` (n, seed, policy, ...); see `SearchSettings`."""
        for event in self.stream(problem, settings, **changes):
            if isinstance(event, Solved):
                return event.solution
        raise AssertionError("a stream ends with Solved")

    def stream(self, problem: str | Problem, settings: SearchSettings | None = None, **changes: Any) -> Solving:
        """The same search as an iterator of events, the last being `Solved`."""
        if isinstance(problem, str):
            problem = problem_from_statement(problem, "text/problem")
        settings = replace(settings or SearchSettings(), **changes)
        return Solving(self, problem, replace(settings, stop_ids=settings.stop_ids or self.loaded.stop_ids))

    def line_ends(self) -> frozenset[int]:
        """Ids of the tokens that end a line, for `SearchSettings.line_ends`."""
        return line_end_ids(self.loaded.tokenizer)


@dataclass
class Solving:
    """A search in progress: an iterator of events. `cancel` may be called from any thread or signal handler."""

    generator: GuidedGenerator
    problem: Problem
    settings: SearchSettings
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the search after the step in progress; it still yields `Solved`, with the best answer so far."""
        self._cancelled.set()

    def __iter__(self) -> Iterator[Event]:
        model, tokenizer = self.generator.loaded.language_model, self.generator.loaded.tokenizer
        room = model.max_length - self.settings.max_new_tokens
        prompt = prompt_ids(tokenizer, self.problem, self.generator.template, max_tokens=room)
        if self.generator._value_tokenizer is not None:
            cast(Any, model).set_prompt(
                prompt, prompt_ids(self.generator._value_tokenizer, self.problem, self.generator.template)
            )
        start = time.perf_counter()
        with self.generator._turn:
            search = Search(model, prompt, self.settings)
        search.tree.metadata |= self._metadata()
        checks = _ExampleChecks(self.problem)
        try:
            seen: set[int] = set()
            while not search.done:
                if self._cancelled.is_set():
                    search.stop()
                with self.generator._turn:
                    advance_round(model, [search])
                for leaf in search.finished_leaves() - seen:
                    seen.add(leaf)
                    text = self._text(search.tree, leaf)
                    yield Finished(text, checks.start(leaf, text))
                yield self._progress(search, start)
            yield Solved(self._solution(search, len(prompt), start, checks))
        finally:
            with self.generator._turn:
                model.close(search.session)
            checks.close()

    def _metadata(self) -> dict[str, Any]:
        loaded, settings = self.generator.loaded, self.settings
        return {
            "problem": self.problem.id,
            "model": loaded.identity.name,
            "model_sha256": loaded.identity.sha256,
            "precision": loaded.precision,
            "template": self.generator.template.name,
            "template_hash": self.generator.template.hash,
            "sampling": {
                "temperature": settings.sampling.temperature,
                "top_p": settings.sampling.top_p,
                "top_k": settings.sampling.top_k,
            },
            "policy": repr(settings.policy),
            "seed": settings.seed,
        }

    def _text(self, tree: Tree, leaf: int) -> str:
        text: str = self.generator.loaded.tokenizer.decode(tree.tokens(leaf), skip_special_tokens=True)
        return text

    def _progress(self, search: Search, start: float) -> Progress:
        leaves = np.asarray([sample.leaf for sample in search.live] + list(search.finished_leaves()), np.int64)
        scores = search.scores()[leaves[leaves >= 0]]
        scores = scores[~np.isnan(scores)]
        best = float(scores.max()) if len(scores) else float("nan")
        finished = search.finished_count()
        return Progress(len(search.live), finished, search.decoded_tokens, time.perf_counter() - start, best)

    def _solution(self, search: Search, prompt_tokens: int, start: float, checks: _ExampleChecks) -> Solution:
        tree, scores = search.tree, np.append(search.scores(), np.nan)
        candidates = []
        for row in search.rollouts:
            leaf, ended = int(tree.rollouts.leaf[row]), Ended(int(tree.rollouts.ended[row]))
            path, text = tree.path(leaf), self._text(tree, leaf)
            verdict = checks.verdict(leaf)
            if verdict is not None:
                tree.verdicts[row] = verdict.status
            candidates.append(
                Candidate(
                    text=text,
                    program=extract_program(text),
                    token_ids=tree.nodes.token_id[path],
                    logprobs=tree.nodes.logprob[path],
                    values=tree.nodes.value[path],
                    score=float(scores[leaf]),
                    ended=ended,
                    multiplicity=int(tree.rollouts.multiplicity[row]),
                    examples=None if verdict is None else (verdict.tests.count("passed"), len(self.problem.tests)),
                    rollout=row,
                )
            )
        candidates.sort(key=lambda candidate: candidate.rank, reverse=True)
        seconds = time.perf_counter() - start
        return Solution(candidates, tree, prompt_tokens, search.decoded_tokens, seconds, checks.isolation)


class _ExampleChecks:
    """Runs finished answers on the statement's examples while the search goes on."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._judge = Judge(workers=1) if problem.tests else None
        self._running: dict[int, Future[Verdict]] = {}
        self.isolation = self._judge.isolation if self._judge else None

    def start(self, leaf: int, text: str) -> str:
        """Begin to check the answer that ends at `leaf`; returns its program."""
        program = extract_program(text)
        if self._judge is not None:
            self._running[leaf] = self._judge.submit(self._problem, program)
        return program

    def verdict(self, leaf: int) -> Verdict | None:
        running = self._running.get(leaf)
        return running.result() if running else None

    def close(self) -> None:
        if self._judge is not None:
            self._judge.close()
