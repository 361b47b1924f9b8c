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
from .engine.errors import BackendError
from .engine.language_model import LanguageModel
from .engine.search import Search, advance_round

Event = TypeVar("Event")
Result = TypeVar("Result")
STEPS_AHEAD = 4  # that a search may be ahead of who reads its events
_CLOSED = "no more is decoded: the program is ending, or its generator was closed"


class Scheduler:
    """Runs searches of one model, all live ones in one batch."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        end_helper_threads()  # of the thread that loaded the model
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decoding")
        self.lock = threading.RLock()
        self._live: list[ScheduledSearch[Any]] = []
        self._stepping = False

    @property
    def live(self) -> int:
        """Searches that are being decoded, or wait for their readers."""
        return len(self._live)

    def between_steps(self, work: Callable[[], Result]) -> Future[Result]:
        """Have the decoding thread, which alone may use the model, do something else. Raises BackendError."""
        try:
            return self._thread.submit(work)
        except RuntimeError as error:  # of an executor that is shut down, or after the interpreter's end has begun
            raise BackendError(_CLOSED) from error

    def close(self) -> None:
        """Fail the searches that are live, and end the thread after the step in progress."""
        with self.lock:
            live = list(self._live)
        for search in live:
            search._fail(BackendError(_CLOSED))
        self._thread.shutdown()

    def go_on(self) -> None:
        """Take the next step if there is one to take and it is not coming anyway."""
        with self.lock:
            if self._stepping or not any(search._ready for search in self._live):
                return
            self._stepping = True
            try:
                self.between_steps(self._step)
            except BackendError as error:
                for search in list(self._live):
                    search._fail(error)

    def _step(self) -> None:
        with self.lock:
            ready = [search for search in self._live if search._ready]
        try:
            self._advance(ready)
            for search in ready:
                search._tell()
        except BaseException as error:  # an error of ours: nobody may wait for ever
            for search in ready:
                search._fail(error)
        finally:
            with self.lock:
                self._stepping = False
            self.go_on()

    def _advance(self, ready: Sequence[ScheduledSearch[Any]]) -> None:
        for one in ready:
            if one._cancelled and not one._closed:
                one.search.stop()
        try:
            advance_round(self.model, [one.search for one in ready])
        except Exception:
            # A caller's own policy or scorer, or one answer beyond the context: alone, each search meets only its own errors.
            # What the failed step drew already is drawn again, equally: draws depend on nothing but their place.
            for one in ready:
                try:
                    advance_round(self.model, [one.search])
                except Exception as error:
                    one._fail(error)


class ScheduledSearch(Generic[Event]):
    """A search that a scheduler runs, seen by who reads its events. Subclasses say how it begins and what there is to tell.

    `begin` and `observe` are called by the decoding thread; their errors are the search's own. So is the reader's `wake`,
    whenever there is something new to take.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._wake: Callable[[], object] = lambda: None
        self._search: Search | None = None
        self._events: list[Event] = []
        self._error: BaseException | None = None
        self._ahead = 0
        self._ended = self._closed = self._cancelled = False

    def begin(self) -> Search:
        """The search at its beginning."""
        raise NotImplementedError

    def observe(self, search: Search) -> Sequence[Event]:
        """What is to be told after a step of it."""
        raise NotImplementedError

    @property
    def search(self) -> Search:
        assert self._search is not None
        return self._search

    def cancel(self) -> None:
        """End the search after the step in progress, with what there is. May be called from any thread or signal handler."""
        self._cancelled = True

    def join(self, wake: Callable[[], object]) -> None:
        """Have the scheduler run it. Raises BackendError where that is closed."""
        self._wake = wake
        self.scheduler.between_steps(self._join)

    def take(self) -> tuple[list[Event], bool]:
        """The events since the last call, and whether they were the last. Raises what went wrong, after the last event."""
        with self.scheduler.lock:
            events, self._events, self._ahead = self._events, [], 0
            ended, error = self._ended, self._error
        if error is not None:
            if not events:
                raise error
            self._wake()  # nothing else will: the reader has to come again, for the error
        self.scheduler.go_on()
        return events, ended

    def tell(self, events: Sequence[Event]) -> None:
        """Have the reader take `events` that belong to no step, unless its last ones were told."""
        with self.scheduler.lock:
            if self._closed or self._ended:
                return
            self._events.extend(events)
        self._wake()

    def leave(self, hold: int | None = None) -> None:
        """Free its caches, after the step in progress. `hold` keeps the prompt with the answer at this node for later prompts."""
        with self.scheduler.lock:
            if self._closed:
                return
            self._closed = True
            if self in self.scheduler._live:
                self.scheduler._live.remove(self)
        with suppress(BackendError):  # the memory goes with the process
            self.scheduler.between_steps(lambda: self._free(hold))

    # -- called by the decoding thread, but for `_fail` at the end of the program

    @property
    def _ready(self) -> bool:
        return not self._closed and not self._ended and self._ahead < STEPS_AHEAD

    def _join(self) -> None:
        if self._closed:
            return
        try:
            search = self.begin()
        except BaseException as error:
            self._fail(error)
            return
        with self.scheduler.lock:
            self._search = search
            if not self._closed:
                self.scheduler._live.append(self)
        self.scheduler.go_on()

    def _tell(self) -> None:
        if self._closed:
            return
        try:
            events = self.observe(self.search)
        except Exception as error:
            self._fail(error)
            return
        with self.scheduler.lock:
            self._events.extend(events)
            self._ahead += 1
            self._ended = self.search.done
            if self._ended and self in self.scheduler._live:
                self.scheduler._live.remove(self)
        self._wake()

    def _fail(self, error: BaseException) -> None:
        with self.scheduler.lock:
            self._error = error
        self.leave()
        self._wake()

    def _free(self, hold: int | None) -> None:
        if self._search is None:
            return
        model, session = self.scheduler.model, self._search.session
        if hold is not None:
            model.hold(session, hold)
        model.close(session)
