"""A search in progress, from the question to the ranked answers: what `GuidedGenerator.stream` gives its caller."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from .answer_text import AnswerText, SettledText
from .candidate_checks import Accept, CandidateChecks
from .data_builder.build_settings import generator_record
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.prompts import PromptTemplate
from .engine.errors import BackendError
from .engine.language_model import Prompt
from .engine.models.loaded_model import LoadedModel
from .engine.scorers import value as value_scorer
from .engine.search import Search, SearchSettings
from .engine.tree import Ended
from .evidence import likelihoods
from .question import Question, problem_of, question_prompt
from .scheduler import ScheduledSearch, Scheduler
from .solution import Candidate, Event, Finished, Likelihood, Progress, Settled, Solution, Solved, is_python
from .valuemodel.evidence import EvidenceModel
from .watching import Watch


@dataclass(frozen=True)
class Asked:
    """A question and who is asked: a model, the template of a problem's prompt, the most tokens that a prompt may have, and what
    says how likely an answer to a problem is to be correct.
    """

    question: Question
    loaded: LoadedModel
    template: PromptTemplate
    max_prompt_tokens: int | None = None
    evidence: EvidenceModel | None = None


class Solving(ScheduledSearch[Event]):
    """An iterator of events, also for `async for`, to be read once. `cancel` may be called from any thread or signal handler; the
    search then still yields `Solved`, with the best answer so far.

    It is decoded together with all others of its generator, at most a few steps ahead of who reads its events. What is found out
    about a complete answer outside the model (`checks`) is begun in `observe` and joins the ranking at the end.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        asked: Asked,
        settings: SearchSettings,
        text: AnswerText,
        accept: Accept | None,
        watch: bool = False,
    ) -> None:
        super().__init__(scheduler)
        self.asked, self.settings, self.text, self.accept = asked, settings, text, accept
        self.problem = problem_of(asked.question)
        self._settled = SettledText(text)
        self._watch = Watch() if watch else None
        self._checks: CandidateChecks | None = None
        self._complete: dict[int, bool] = {}  # the nodes at which answers ended that were told: whether they are Python
        self._evidence = asked.evidence if self.problem is not None else None
        self._known: dict[int, Likelihood] = {}
        self._weighed = 0  # checks that are done, when `_known` was
        self._best: int | None = None  # the node at which the best answer ends
        self._begun = 0.0

    @property
    def checks(self) -> CandidateChecks:
        assert self._checks is not None
        return self._checks

    def __iter__(self) -> Iterator[Event]:
        ready = threading.Event()
        try:
            self._start(ready.set)
            ended = False
            while not ended:
                ready.wait()
                ready.clear()
                events, ended = self.take()
                yield from events
            yield from self._last_events()
        finally:
            self.leave(self._best)
            if self._checks is not None:
                self._checks.close()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # of a loop that was closed meanwhile
                loop.call_soon_threadsafe(ready.set)

        try:
            await asyncio.to_thread(self._start, wake)
            ended = False
            while not ended:
                await ready.wait()
                ready.clear()
                events, ended = self.take()
                for event in events:
                    yield event
            checks = [asyncio.wrap_future(check) for check in self.checks.running]
            await asyncio.gather(*checks, return_exceptions=True)  # no thread is to wait for them
            for event in await asyncio.to_thread(self._last_events):
                yield event
        finally:
            self.leave(self._best)
            if self._checks is not None and self._checks.busy:
                await asyncio.to_thread(self._checks.close)

    def _start(self, wake: Any) -> None:
        """Join the scheduler. Raises ContextError, SettingsError."""
        self._begun = time.perf_counter()
        self._prompt = self.read_question()
        checks = CandidateChecks(self.problem, self.accept)
        with self.scheduler.lock:
            self._checks = None if self._closed else checks
        if self._checks is None:  # by a task that was cancelled while a thread was doing this
            checks.close()
        else:
            self.join(wake)

    def read_question(self) -> Prompt:
        """The prompt. Raises ContextError, SettingsError."""
        asked, model = self.asked, self.asked.loaded.language_model
        room = min(model.max_length - self.settings.max_new_tokens, asked.max_prompt_tokens or model.max_length)
        return question_prompt(model, asked.loaded.tokenizer, asked.question, asked.template, room)

    # -- called by the decoding thread

    def begin(self) -> Search:
        asked, settings = self.asked, self.settings
        search = Search(asked.loaded.language_model, self._prompt, settings)
        search.tree.metadata |= {
            "problem": None if self.problem is None else self.problem.id,
            **generator_record(asked.loaded, asked.template, settings.sampling),
            "policy": repr(search.policy),
            "seed": settings.seed,
        }
        if self._evidence is not None:
            search.further = partial(self._further, search)
        return search

    def observe(self, search: Search) -> list[Event]:
        events: list[Event] = []
        for leaf in search.finished_leaves() - self._complete.keys():
            text = self.text.whole(search.tree, leaf)
            self._complete[leaf] = self.problem is None or is_python(extract_program(text))
            self.checks.start(leaf, text, self._checked)
            events.append(Finished(text))
        self._weigh(search)
        settled = self._settled.advance(search)
        if settled:
            events.append(Settled(settled))
        if self._watch is not None:
            events.append(self._watch.grown(search, self.checks, self._known))
        return [*events, self._progress(search)]

    def _checked(self) -> None:
        """An answer's checks have ended; called by their thread."""
        self.scheduler.go_on()
        if self._watch is not None:
            with suppress(BackendError):  # of a scheduler that was closed
                self.scheduler.between_steps(self._tell_checked)

    def _tell_checked(self) -> None:
        if self._watch is not None and self._search is not None:
            self.tell([self._watch.grown(self._search, self.checks, self._known)])

    @property
    def _ready(self) -> bool:
        return super()._ready and not self._waits

    @property
    def _waits(self) -> bool:
        """Whether there is nothing to decode until it is known what the answers do."""
        search = self._search
        if search is None or self._evidence is None or self._cancelled or search.done or search.live:
            return False
        return search.further is not None and not all(check.done() for check in self.checks.running)

    def _weigh(self, search: Search) -> None:
        """Have the search know how likely its complete answers are to be correct, and end it where one is likely enough."""
        done = sum(check.done() for check in self.checks.running)
        if self._evidence is None or (done == self._weighed and self._known):
            return
        self._weighed = done
        self._known = likelihoods(self._evidence, search, self.checks, self._complete)
        if self.settings.scorer is value_scorer:
            search.likely = {leaf: known.probability for leaf, known in self._known.items()}
        if any(known.probability >= self.settings.enough for known in self._known.values()):
            search.stop()

    def _further(self, search: Search) -> int | None:
        """Fresh candidates to go on with once all have ended and are checked, None before that; see `SearchSettings`."""
        if search.finished_leaves() - self._complete.keys() or not all(check.done() for check in self.checks.running):
            return None
        self._weigh(search)
        settings = self.settings
        left = (settings.most or settings.n) - search.begun
        if left <= 0 or any(one.probability >= settings.enough for one in self._known.values()):
            return 0
        verdicts = [self.checks.verdict(leaf) for leaf in self._complete]
        failing = self.checks.examples > 0 and not any(verdict is not None and verdict.passed for verdict in verdicts)
        return min(settings.n, left) if settings.budget is not None or failing else 0

    def _progress(self, search: Search) -> Progress:
        leaves = np.asarray([sample.leaf for sample in search.live] + list(search.finished_leaves()), np.int64)
        scores = search.scores()[leaves[leaves >= 0]]
        scores = scores[~np.isnan(scores)]
        best = float(scores.max()) if len(scores) else float("nan")
        seconds = time.perf_counter() - self._begun
        return Progress(len(search.live), search.finished_count(), search.decoded_tokens, seconds, best)

    # -- at the end

    def _last_events(self) -> list[Event]:
        """Waits for the checks to end."""
        solution = self._solution(self.search)
        self._best = int(solution.tree.rollouts.leaf[solution.best.rollout])
        rest = self._settled.rest(solution.best.text)
        return [Settled(rest), Solved(solution)] if rest else [Solved(solution)]

    def _solution(self, search: Search) -> Solution:
        scores = np.append(search.scores(), np.nan)
        if self._evidence is not None:
            for check in self.checks.running:
                check.exception()
            self._known = likelihoods(self._evidence, search, self.checks, self._complete)
        candidates = [self._candidate(search, row, scores) for row in search.rollouts]
        candidates.sort(key=lambda candidate: candidate.rank, reverse=True)
        search.tree.metadata["best"] = candidates[0].rollout
        seconds = time.perf_counter() - self._begun
        return Solution(
            candidates=candidates,
            tree=search.tree,
            prompt_tokens=len(self._prompt.token_ids),
            decoded_tokens=search.decoded_tokens,
            seconds=seconds,
            isolation=self.checks.isolation,
            problem=self.problem,
            tokenizer=self.asked.loaded.tokenizer,
        )

    def _candidate(self, search: Search, row: int, scores: np.ndarray) -> Candidate:
        """Row `row` of the tree's rollouts, with what its checks found, which the tree is told too."""
        tree = search.tree
        leaf = int(tree.rollouts.leaf[row])
        path, verdict, examples = tree.path(leaf), self.checks.verdict(leaf), None
        if verdict is not None and self.problem is not None:
            examples = verdict.tests.count("passed"), len(self.problem.tests)
            tree.verdicts[row] = verdict.status
            if verdict.failure is not None:
                tree.metadata.setdefault("failures", {})[str(row)] = asdict(verdict.failure)
            tree.metadata.setdefault("examples", {})[str(row)] = examples
        text = self.text.whole(tree, leaf)
        known = self._known.get(leaf) if tree.rollouts.ended[row] == Ended.EOS else None
        if known is not None:
            tree.metadata.setdefault("likelihoods", {})[str(row)] = asdict(known)
        accepted = self.checks.accepted(leaf)
        return Candidate(
            text=text,
            token_ids=tree.nodes.token_id[path],
            logprobs=tree.nodes.logprob[path],
            values=tree.nodes.value[path],
            score=float(scores[leaf]),
            ended=Ended(int(tree.rollouts.ended[row])),
            multiplicity=int(tree.rollouts.multiplicity[row]),
            examples=examples,
            rollout=row,
            accepted=None if accepted is None else float(accepted),
            likelihood=known,
            failure=None if verdict is None else verdict.failure,
            alternatives=[tree.alternatives[node] for node in tree.nodes.parent[path].tolist()] if tree.alternatives else None,
            parses=self.problem is None or is_python(extract_program(text)),
        )
