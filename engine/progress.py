"""Progress of long jobs on stderr: a bar in a terminal, one plain line a stage anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[float], None]


@contextmanager
def stage(title: str, total: float | None = None) -> Iterator[Advance]:
    """Show one stage of a job; yields a function that takes what is done so far, in the unit of `total`.

    Until the first call, and for good without a `total`, the bar only moves to show that the job is alive.
    """
    # The stream is taken now, not at each refresh: a stage may silence `sys.stderr` while it runs.
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        print(f"{title} ...", file=sys.stderr, flush=True)
        yield lambda done: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done: bar.update(task, total=total, completed=done)
