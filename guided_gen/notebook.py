"""A search's progress as a bar in a notebook; nothing anywhere else."""

from __future__ import annotations

import sys
from typing import Any

from .solution import Event, Progress, Solved


class NotebookBar:
    """Shows the events of a search below the cell that runs it: the share of the candidates that have ended."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._handle: Any = None
        if in_notebook():
            from IPython.display import HTML, display

            self._html = HTML
            self._handle = display(HTML("<progress></progress> reading the problem"), display_id=True)

    def show(self, event: Event) -> None:
        if self._handle is None:
            return
        if isinstance(event, Progress):
            ended = max(self._n - event.live, 0)
            self._handle.update(self._html(f'<progress value="{ended}" max="{self._n}"></progress> {event}'))
        elif isinstance(event, Solved):
            self._handle.update(self._html(""))


def in_notebook() -> bool:
    """Whether this is a cell of a notebook, whose output can be replaced."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"
