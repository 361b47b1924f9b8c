"""One thread decodes for all live searches of a model: whoever calls, from whatever thread or event loop, each step serves all.

A search joins between two steps and leaves between two steps, so that cancelling one takes effect within a step. A search whose
caller does not take its events sits out, after a few steps, until it does: a slow reader holds up nobody else. The thread is that
of an executor: it ends with the scheduler, or with the interpreter after the step in progress.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .engine.cpu.threads import end_helper_threads
from .engine.errors import GuidedGenError
from .engine.language_model import LanguageModel
from .engine.search import Search, advance_round

Event = TypeVar("Event")
Result = TypeVar("Result")
STEPS_AHEAD = 4  # that a search may be ahead of who reads its events


class SchedulerClosed(GuidedGenError):
    """The interpreter is ending, so that nothing more is decoded."""


class Scheduler:
    """Runs searches of one model, all live ones in one batch."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        end_helper_threads()  # of the thread that loaded the model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decoding")
        self._lock = threading.RLock()
        self._live: list[Run[Any]] = []
        self._stepping = False

    @property
    def live(self) -> int:
        """Searches that are being decoded, or wait for their readers."""
        return len(self._live)

    def start(
        self,
        begin: Callable[[], Search],
        observe: Callable[[Search], Sequence[Event]],
        wake: Callable[[], object],
        cancelled: threading.Event,
    ) -> Run[Event]:
        """Run the search that `begin` makes, with one more `observe` after each step of it.

        Both are called by the decoding thread, and so is `wake`, whenever there is something new to take; errors of the first two
        are the search's own. Once `cancelled` is set, the search ends with what there is.
        """
        run = Run(self, begin, observe, wake, cancelled)
        self._submit(run, run._begin)
        return run

    def between_steps(self, work: Callable[[], Result]) -> Future[Result]:
        """Have the decoding thread, which alone may use the model, do something else."""
        return self._thread.submit(work)

    def _submit(self, run: Run[Any], work: Callable[[], None]) -> None:
        try:
            self._thread.submit(work)
        except RuntimeError:  # of an executor after the interpreter's end has begun
            run._fail(SchedulerClosed("the program is ending: no more is decoded"))

    def _go_on(self) -> None:
        """Take the next step if there is one to take and it is not coming anyway."""
        with self._lock:
            if self._stepping or not any(run._ready for run in self._live):
                return
            self._stepping = True
            try:
                self._thread.submit(self._step)
            except RuntimeError:
                for run in list(self._live):
                    run._fail(SchedulerClosed("the program is ending: no more is decoded"))

    def _step(self) -> None:
        with self._lock:
            runs = [run for run in self._live if run._ready]
        try:
            self._advance(runs)
            for run in runs:
                run._observe()
        except BaseException as error:  # an error of ours: nobody may wait for ever
            for run in runs:
                run._fail(error)
        finally:
            with self._lock:
                self._stepping = False
            self._go_on()

    def _advance(self, runs: Sequence[Run[Any]]) -> None:
        for run in runs:
            if run._cancelled.is_set() and not run._closed:
                run.search.stop()
        try:
            advance_round(self.model, [run.search for run in runs])
        except Exception:
            # A caller's own policy or scorer, or one answer beyond the context: alone, each search meets only its own errors.
            # What the failed step drew already is drawn again, equally: draws depend on nothing but their place.
            for run in runs:
                try:
                    advance_round(self.model, [run.search])
                except Exception as error:
                    run._fail(error)


class Run(Generic[Event]):
    """A search that a scheduler runs, seen by who reads its events."""

    def __init__(
        self,
        scheduler: Scheduler,
        begin: Callable[[], Search],
        observe: Callable[[Search], Sequence[Event]],
        wake: Callable[[], object],
        cancelled: threading.Event,
    ) -> None:
        self._scheduler, self._make, self._look, self._wake, self._cancelled = scheduler, begin, observe, wake, cancelled
        self._events: list[Event] = []
        self._search: Search | None = None
        self._error: BaseException | None = None
        self._ahead = 0
        self._ended = self._closed = False

    @property
    def search(self) -> Search:
        assert self._search is not None
        return self._search

    def take(self) -> tuple[list[Event], bool]:
        """The events since the last call, and whether they were the last. Raises what went wrong, after the last event."""
        with self._scheduler._lock:
            events, self._events, self._ahead = self._events, [], 0
            ended, error = self._ended, self._error
        if error is not None:
            if not events:
                raise error
            self._wake()  # nothing else will: the reader has to come again, for the error
        self._scheduler._go_on()
        return events, ended

    def close(self, hold: int | None = None) -> None:
        """Free its caches, after the step in progress. `hold` keeps the prompt with the answer at this node for later prompts."""
        with self._scheduler._lock:
            if self._closed:
                return
            self._leave()
        with suppress(RuntimeError):  # an executor that is shut down: the memory goes with the process
            self._scheduler._thread.submit(self._free, hold)

    # -- called by the decoding thread, but for `_fail` at the interpreter's end

    @property
    def _ready(self) -> bool:
        return not self._closed and not self._ended and self._ahead < STEPS_AHEAD

    def _begin(self) -> None:
        if self._closed:
            return
        try:
            search = self._make()
        except BaseException as error:
            self._fail(error)
            return
        with self._scheduler._lock:
            self._search = search
            if not self._closed:
                self._scheduler._live.append(self)
        self._scheduler._go_on()

    def _observe(self) -> None:
        if self._closed:
            return
        try:
            events = self._look(self.search)
        except Exception as error:
            self._fail(error)
            return
        with self._scheduler._lock:
            self._events.extend(events)
            self._ahead += 1
            self._ended = self.search.done
            if self._ended and self in self._scheduler._live:
                self._scheduler._live.remove(self)
        self._wake()

    def _leave(self) -> None:
        self._closed = True
        if self in self._scheduler._live:
            self._scheduler._live.remove(self)

    def _fail(self, error: BaseException) -> None:
        with self._scheduler._lock:
            self._error = error
        self.close()
        self._wake()

    def _free(self, hold: int | None) -> None:
        if self._search is None:
            return
        model, session = self._scheduler.model, self._search.session
        if hold is not None:
            model.hold(session, hold)
        model.close(session)
