"""What `guided-gen build` shows while it works: a bar in a terminal, now and then a line anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from ..data_builder.builder import BuildProgress

_SECONDS = {True: 0.5, False: 30.0}  # between two updates, in a terminal and elsewhere


class BuildDisplay:
    """Use as a context manager; `show` takes every BuildProgress and shows some."""

    def __init__(self, problems: int) -> None:
        self._problems = problems
        self._console = Console(file=sys.stderr)
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if self._console.is_terminal else None
        self._every = _SECONDS[self._console.is_terminal]
        self._shown = time.monotonic()
        self._last: BuildProgress | None = None

    def __enter__(self) -> BuildDisplay:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        if self._last:
            self._print(self._last)

    def show(self, progress: BuildProgress) -> None:
        self._last = progress
        if time.monotonic() - self._shown < self._every:
            return
        self._shown = time.monotonic()
        if self._live is None:
            self._print(progress)
            return
        grid = Table.grid(padding=(0, 1))
        grid.add_row(ProgressBar(self._problems, progress.done, width=30), progress_line(progress, self._problems))
        self._live.update(grid, refresh=True)

    def _print(self, progress: BuildProgress) -> None:
        print(progress_line(progress, self._problems), file=sys.stderr, flush=True)


def progress_line(progress: BuildProgress, problems: int) -> str:
    """One line: problems done by status, rollouts and the share correct, tokens a second, time left."""
    counts = ", ".join(f"{count} {status}" for status, count in sorted(progress.problems.items()))
    parts = [
        f"{progress.done}/{problems} problems" + (f" ({counts})" if counts else ""),
        f"{progress.rollouts} rollouts, {progress.correct / max(progress.rollouts, 1):.0%} correct",
        f"{progress.tokens} tokens, {progress.tokens / max(progress.seconds, 1e-6):.0f} a second",
        f"{progress.live} growing in {progress.open} problems",
    ]
    built = progress.done - progress.problems.get("skipped", 0)
    if built and progress.done < problems:
        # Half of what is open is taken as done; skipped problems cost nothing, so they count on neither side.
        share = (built + progress.open / 2) / (problems - progress.problems.get("skipped", 0))
        parts.append(f"{_clock(progress.seconds * max(1 / share - 1, 0))} left")
    return " · ".join(parts)


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
