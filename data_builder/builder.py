"""The forking-token dataset builder: problems in, judged token trees out.

`run` keeps one batch full across problems and stages: while the verdicts of one problem are awaited, others decode. It is a plain
generator over an iterable of problems, so Ray Data or a job array can map it. It writes nothing (see tree_folder.py).
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass

from ..engine.errors import ContextError
from ..engine.models.loaded_model import LoadedModel
from ..engine.search import Search, advance_round
from ..engine.tree import Tree
from .build_settings import BuildSettings
from .judge.program import JudgeError
from .problem_growth import Awaited, ProblemGrowth, ProgramJudge
from .problems.problem import Problem
from .problems.quality import skip_reason

# Open problems hold caches, also while they wait for the judge.
_MOST_OPEN = 48
# A judge that fails on so many problems in a row is broken, not the problems.
_MOST_FAILURES = 3
_PATIENCE = 0.5  # seconds between two calls of `watch` where only verdicts are awaited


@dataclass(frozen=True)
class Skipped:
    """A problem that got no tree, and why. `judged` is False where only the judge failed: the next run builds it."""

    problem_id: str
    reason: str
    judged: bool = True


@dataclass(frozen=True)
class BuildProgress:
    """After each step. `problems` counts those done by status: kept, excluded, independent, skipped.

    `rollouts` and `correct` are of problems done; `tokens` were decoded in `seconds`; `live` rollouts grow now; `open` problems
    are begun and not done.
    """

    problems: Mapping[str, int]
    rollouts: int
    correct: int
    tokens: int
    seconds: float
    live: int
    open: int

    @property
    def done(self) -> int:
        return sum(self.problems.values())


def run(
    loaded: LoadedModel,
    problems: Iterable[Problem],
    settings: BuildSettings,
    judge: ProgramJudge,
    *,
    batch: int = 64,
    watch: Callable[[BuildProgress], None] = lambda progress: None,
) -> Iterator[Tree | Skipped]:
    """Build the trees of `problems`, and yield each as it is done (not in order); or why there is none.

    At least `batch` rollouts grow at any time, while there are problems left. `watch` is called after each step and at the end.
    Closing the generator drops the problems in progress. Raises JudgeError where the judge is broken.
    """
    lanes = _Lanes(loaded, settings, judge, batch)
    incoming = iter(problems)
    try:
        while True:
            yield from lanes.go_on()
            while lanes.have_room():
                problem = next(incoming, None)
                if problem is None:
                    break
                skipped = lanes.begin(problem)
                if skipped is not None:
                    yield skipped
            if lanes.open:
                lanes.step()
            watch(lanes.progress())
            if not lanes.open:
                return
    finally:
        lanes.close()


@dataclass
class _Lane:
    growth: ProblemGrowth
    steps: Generator[Awaited, None, Tree]
    awaits: Awaited


class _Lanes:
    """The problems in progress: those that decode, those whose search waits for room in the batch, those that await verdicts."""

    def __init__(self, loaded: LoadedModel, settings: BuildSettings, judge: ProgramJudge, batch: int) -> None:
        self._loaded, self._settings, self._judge, self._batch = loaded, settings, judge, batch
        self._growing: list[_Lane] = []
        self._queued: deque[_Lane] = deque()
        self._awaiting: list[_Lane] = []
        self._problems: Counter[str] = Counter()
        self._rollouts = self._correct = self._tokens = self._failures = 0
        self._start = time.perf_counter()

    @property
    def open(self) -> int:
        return len(self._growing) + len(self._queued) + len(self._awaiting)

    @property
    def _live(self) -> int:
        return sum(len(lane.awaits.live) for lane in self._growing if isinstance(lane.awaits, Search))

    def go_on(self) -> Iterator[Tree | Skipped]:
        """Go on with the problems whose verdicts are in; yields those that are done."""
        for lane in self._awaiting[:]:
            if isinstance(lane.awaits, list) and all(verdict.done() for verdict in lane.awaits):
                self._awaiting.remove(lane)
                result = self._proceed(lane)
                if result is not None:
                    yield result

    def have_room(self) -> bool:
        """Let queued searches into the batch; whether there is room left for a new problem."""
        while self._queued and self._live < self._batch:
            self._growing.append(self._queued.popleft())
        return self._live < self._batch and self.open < _MOST_OPEN

    def begin(self, problem: Problem) -> Skipped | None:
        reason = skip_reason(problem)
        if reason is None:
            growth = ProblemGrowth(self._loaded, problem, self._settings, self._judge)
            try:
                steps = growth.steps()
                self._growing.append(_Lane(growth, steps, next(steps)))
                return None
            except ContextError:
                reason = "prompt too long"
        self._problems["skipped"] += 1
        return Skipped(problem.id, reason)

    def step(self) -> None:
        """One token for all that grow; where nothing does, wait for a verdict."""
        if not self._growing:
            awaited = [verdict for lane in self._awaiting if isinstance(lane.awaits, list) for verdict in lane.awaits]
            wait([verdict for verdict in awaited if not verdict.done()], _PATIENCE, FIRST_COMPLETED)
            return
        searches = [lane.awaits for lane in self._growing if isinstance(lane.awaits, Search)]
        nodes = sum(len(search.tree) for search in searches)
        advance_round(self._loaded.language_model, searches)
        self._tokens += sum(len(search.tree) for search in searches) - nodes
        for lane, search in list(zip(self._growing, searches, strict=True)):
            lane.growth.judge_finished(search)
            if search.done:
                self._growing.remove(lane)
                self._proceed(lane)

    def _proceed(self, lane: _Lane) -> Tree | Skipped | None:
        """Resume a problem that has what it waited for; its tree, if it is done."""
        try:
            lane.awaits = next(lane.steps)
        except StopIteration as done:
            self._failures = 0
            return self._count(done.value)
        except JudgeError as error:
            self._failures += 1
            if self._failures == _MOST_FAILURES:
                raise
            self._problems["skipped"] += 1
            return Skipped(lane.growth.problem.id, f"not judged: {error}", judged=False)
        (self._queued if isinstance(lane.awaits, Search) else self._awaiting).append(lane)
        return None

    def _count(self, tree: Tree) -> Tree:
        self._problems[tree.metadata["status"]] += 1
        counts = tree.rollouts.multiplicity.tolist()
        self._rollouts += sum(counts)
        self._correct += sum(count for count, verdict in zip(counts, tree.verdicts, strict=True) if verdict == "passed")
        return tree

    def progress(self) -> BuildProgress:
        seconds = time.perf_counter() - self._start
        return BuildProgress(dict(self._problems), self._rollouts, self._correct, self._tokens, seconds, self._live, self.open)

    def close(self) -> None:
        for lane in [*self._growing, *self._queued, *self._awaiting]:
            lane.steps.close()
