"""The front door: a problem's text in, the best program that the search finds out.

generator = GuidedGenerator.from_pretrained()
print(generator.solve("Write a function f(x) that doubles x.\\n\\nf(2) == 4").program)
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .answer_text import AnswerText, SettledText
from .candidate_checks import Accept, CandidateChecks
from .data_builder.build_settings import generator_record
from .data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate
from .engine.models.loading import LoadedModel, line_end_ids, load_model
from .engine.models.sources import DEFAULT_MODEL
from .engine.scorers import Scorer, mean_logprob
from .engine.scorers import value as value_scorer
from .engine.search import Search, SearchSettings
from .engine.tree import Ended
from .engine.vllm_backend.settings import VllmSettings
from .question import Question, Understood, examples_of, question_prompt, understood
from .scheduler import Run, Scheduler
from .scoring import Room, ScoredText, reading
from .shipped_values import AUTO, shipped_value
from .solution import Candidate, Event, Finished, Progress, Settled, Solution, Solved

__all__ = ["Candidate", "Event", "Finished", "GuidedGenerator", "Progress", "Settled", "Solution", "Solved", "Solving"]
PREFIX_BYTES = 256 << 20  # of the default model: 10,000 tokens


class GuidedGenerator:
    """A loaded model that solves problems. Safe to use from several threads and event loops: each step of decoding serves all
    their searches.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        template: PromptTemplate = DEFAULT_TEMPLATE,
        prefix_bytes: int = PREFIX_BYTES,
    ) -> None:
        """`prefix_bytes` bounds what is kept of prompts and best answers: a chat's next turn then reads only what is new."""
        self.loaded = loaded
        self.template = template
        self._line_ends: frozenset[int] | None = None
        self.scheduler = Scheduler(loaded.language_model)
        self.max_prompt_tokens: int | None = None  # where a caller allows less than the model's context
        loaded.language_model.hold_prefixes(prefix_bytes)

    @classmethod
    def from_pretrained(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        precision: str = "auto",
        value: str | Path | None = AUTO,
        value_base: str | None = None,
        backend: str = "torch",
        vllm: VllmSettings | None = None,
    ) -> GuidedGenerator:
        """Load a model by name, folder, GGUF file or hub id (see `load_model`).

        `value` is the folder of a value model for it, or auto: the one that comes with the package, if one does for this model in
        this precision (`loaded.language_model.scores` says so). `value_base`: where a text scorer's base is, if not where its
        name says.
        `backend` vllm has vLLM serve it, as `vllm` says.
        """
        if value == AUTO:
            value = shipped_value(model, precision, backend)
        if value is None:
            return cls(load_model(model, precision, backend=backend, vllm=vllm))
        from .valuemodel.attach import Prompts, load_scored_model

        template = DEFAULT_TEMPLATE
        prompts = Prompts(template.name, template.hash)
        return cls(load_scored_model(model, precision, value, prompts, value_base, backend, vllm), template)

    def solve(self, question: Question, settings: SearchSettings | None = None, **changes: Any) -> Solution:
        """Search for an answer to a problem (its statement or a `Problem`), a chat's messages, or a `Continuation`.

        Without a scorer in `settings`, candidates for a problem are compared by their value, if there is a value model, and all
        others by their mean log-probability.

        `changes` replace single fields of `settings` (n, seed, policy, ...; see `SearchSettings`), or are `accept`: a function of
        an answer's text, called for each complete one on a thread of the search's own, whose number or bool joins the ranking;
        and `stop`: strings that end an answer and do not belong to it.
        """
        for event in self.stream(question, settings, **changes):
            if isinstance(event, Solved):
                return event.solution
        raise AssertionError("a stream ends with Solved")

    async def asolve(self, question: Question, settings: SearchSettings | None = None, **changes: Any) -> Solution:
        """`solve` for asyncio: cancelling the task ends the decoding within one step and frees its cache."""
        async with aclosing(self.stream(question, settings, **changes).__aiter__()) as events:
            async for event in events:
                if isinstance(event, Solved):
                    return event.solution
        raise AssertionError("a stream ends with Solved")

    def stream(self, question: Question, settings: SearchSettings | None = None, **changes: Any) -> Solving:
        """The same search as an iterator of events, the last being `Solved`."""
        accept, stop = changes.pop("accept", None), changes.pop("stop", ())
        settings = replace(settings or SearchSettings(), **changes)
        text = AnswerText(self.loaded.tokenizer, [stop] if isinstance(stop, str) else stop)
        settings = replace(
            settings,
            stop_ids=settings.stop_ids or self.loaded.stop_ids,
            complete=text.stopped if stop else settings.complete,
        )
        asked = understood(question)
        settings = replace(settings, scorer=settings.scorer or self.scorer_for(asked))
        return Solving(self, asked, settings, text, accept)

    def astream(self, question: Question, settings: SearchSettings | None = None, **changes: Any) -> Solving:
        """`stream`, to be read by `async for`."""
        return self.stream(question, settings, **changes)

    def scorer_for(self, question: Understood) -> Scorer:
        """What candidates are compared by where nobody says: value models know programming problems, not any chat."""
        known = self.loaded.language_model.scores and examples_of(question) is not None
        return value_scorer if known else mean_logprob

    def score(self, question: Question, texts: Sequence[str], max_tokens: int | None = None) -> list[ScoredText]:
        """Read texts that others wrote, of `max_tokens` at most, as answers to `question`: the log-probability of each token, and
        the value after it. Raises ScoringError.
        """
        loaded = self.loaded
        room = Room(self.max_prompt_tokens, max_tokens)
        work = [reading(loaded.language_model, loaded.tokenizer, self.template, question, text, room) for text in texts]
        running = [self.scheduler.between_steps(read) for read in work]
        return [future.result() for future in running]

    def line_ends(self) -> frozenset[int]:
        """Ids of the tokens that end a line, for `SearchSettings.line_ends`."""
        if self._line_ends is None:
            self._line_ends = line_end_ids(self.loaded.tokenizer)
        return self._line_ends


@dataclass
class Solving:
    """A search in progress: an iterator of events, also for `async for`. `cancel` may be called from any thread or signal
    handler. It is decoded together with all others of its generator, at most a few steps ahead of who reads its events.
    """

    generator: GuidedGenerator
    question: Understood
    settings: SearchSettings
    text: AnswerText
    accept: Accept | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """End the search after the step in progress; it still yields `Solved`, with the best answer so far."""
        self._cancelled.set()

    def __iter__(self) -> Iterator[Event]:
        ready = threading.Event()
        attempt = _Attempt(self, ready.set)
        try:
            attempt.start()
            ended = False
            while not ended:
                ready.wait()
                ready.clear()
                events, ended = attempt.run.take()
                yield from events
            yield from attempt.last_events()
        finally:
            attempt.free()
            attempt.checks.close()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # of a loop that was closed meanwhile
                loop.call_soon_threadsafe(ready.set)

        attempt = await asyncio.to_thread(_Attempt, self, wake)
        try:
            await asyncio.to_thread(attempt.start)
            ended = False
            while not ended:
                await ready.wait()
                ready.clear()
                events, ended = attempt.run.take()
                for event in events:
                    yield event
            checks = [asyncio.wrap_future(check) for check in attempt.checks.running]
            await asyncio.gather(*checks, return_exceptions=True)  # no thread is to wait for them
            for event in await asyncio.to_thread(attempt.last_events):
                yield event
        finally:
            attempt.free()
            if attempt.checks.busy:
                await asyncio.to_thread(attempt.checks.close)


class _Attempt:
    """One run of a `Solving`: what joins its search, its checks and its events."""

    def __init__(self, solving: Solving, wake: Callable[[], object]) -> None:
        self.generator, self.settings, self.text = solving.generator, solving.settings, solving.text
        self.question, self._cancelled, self._wake = solving.question, solving._cancelled, wake
        self.problem = examples_of(solving.question)
        self.checks = CandidateChecks(self.problem, solving.accept)
        self.settled = SettledText(solving.text)
        self.seen: set[int] = set()
        self.best: int | None = None  # the node at which the best answer ends
        self._run: Run[Event] | None = None
        self._freed = False

    @property
    def run(self) -> Run[Event]:
        assert self._run is not None
        return self._run

    def start(self) -> None:
        """Read the question and join the scheduler. Raises PromptTooLongError, QuestionError."""
        self.begun = time.perf_counter()
        generator, model = self.generator, self.generator.loaded.language_model
        room = min(model.max_length - self.settings.max_new_tokens, generator.max_prompt_tokens or model.max_length)
        prompt = question_prompt(model, generator.loaded.tokenizer, self.question, generator.template, room)
        self.prompt_tokens = len(prompt.token_ids)

        def begin() -> Search:
            search = Search(model, prompt, self.settings)
            search.tree.metadata |= self._metadata()
            return search

        self._run = generator.scheduler.start(begin, self._observe, self._wake, self._cancelled)
        if self._freed:  # by a task that was cancelled while a thread was doing this
            self._run.close()

    def free(self) -> None:
        """Free the search's caches, after the step in progress; the prompt and its best answer stay for what goes on from it."""
        self._freed = True
        if self._run is not None:
            self._run.close(self.best)

    def last_events(self) -> list[Event]:
        """Waits for the checks to end."""
        solution = self._solution(self.run.search)
        self.best = int(solution.tree.rollouts.leaf[solution.best.rollout])
        rest = self.settled.rest(solution.best.text)
        return [Settled(rest), Solved(solution)] if rest else [Solved(solution)]

    def _observe(self, search: Search) -> list[Event]:
        events: list[Event] = []
        for leaf in search.finished_leaves() - self.seen:
            self.seen.add(leaf)
            text = self.text.whole(search.tree, leaf)
            self.checks.start(leaf, text)
            events.append(Finished(text))
        settled = self.settled.advance(search)
        if settled:
            events.append(Settled(settled))
        return [*events, self._progress(search)]

    def _metadata(self) -> dict[str, Any]:
        generator, settings = self.generator, self.settings
        return {
            "problem": None if self.problem is None else self.problem.id,
            **generator_record(generator.loaded, generator.template, settings.sampling),
            "policy": repr(settings.policy),
            "seed": settings.seed,
        }

    def _progress(self, search: Search) -> Progress:
        leaves = np.asarray([sample.leaf for sample in search.live] + list(search.finished_leaves()), np.int64)
        scores = search.scores()[leaves[leaves >= 0]]
        scores = scores[~np.isnan(scores)]
        best = float(scores.max()) if len(scores) else float("nan")
        finished = search.finished_count()
        return Progress(len(search.live), finished, search.decoded_tokens, time.perf_counter() - self.begun, best)

    def _solution(self, search: Search) -> Solution:
        tree, scores = search.tree, np.append(search.scores(), np.nan)
        candidates = []
        for row in search.rollouts:
            leaf, ended = int(tree.rollouts.leaf[row]), Ended(int(tree.rollouts.ended[row]))
            path, text = tree.path(leaf), self.text.whole(tree, leaf)
            verdict = self.checks.verdict(leaf)
            examples = None
            if verdict is not None and self.problem is not None:
                examples = verdict.tests.count("passed"), len(self.problem.tests)
                tree.verdicts[row] = verdict.status
                if verdict.failure is not None:
                    tree.metadata.setdefault("failures", {})[str(row)] = asdict(verdict.failure)
            candidates.append(
                Candidate(
                    text=text,
                    token_ids=tree.nodes.token_id[path],
                    logprobs=tree.nodes.logprob[path],
                    values=tree.nodes.value[path],
                    score=float(scores[leaf]),
                    ended=ended,
                    multiplicity=int(tree.rollouts.multiplicity[row]),
                    examples=examples,
                    rollout=row,
                    accepted=self.checks.accepted(leaf),
                )
            )
        candidates.sort(key=lambda candidate: candidate.rank, reverse=True)
        seconds = time.perf_counter() - self.begun
        return Solution(candidates, tree, self.prompt_tokens, search.decoded_tokens, seconds, self.checks.isolation)
