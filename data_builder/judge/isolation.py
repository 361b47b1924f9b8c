"""Isolation levels: which of them this machine has, found out by starting a sandbox at each.

| level | what confines a program |
|---|---|
| full | bubblewrap: PID, network, IPC, UTS and mount namespaces, a root of read-only system folders, tmpfs /tmp; and limits |
| namespaces | the same namespaces and root, made by ourselves with unshare and mount; and limits |
| rlimits | process limits, an unprivileged uid where the caller is root, Landlock where the kernel has it |
| none | nothing but wall-clock time: for measuring what isolation costs, never chosen by itself |

Verdicts are as trustworthy at each of them, since expected outputs never enter the process; what a hostile program can do
to the machine meanwhile is not: docs/judge.md has the table.
"""

from __future__ import annotations

import os
import shutil
import time
from functools import cache
from typing import Literal, get_args

from ...engine.errors import GuidedGenError
from . import seccomp
from .sandbox import Sandbox, SandboxDied, SandboxTimeout
from .verdict import Isolation, ProgramLimits

LEVELS: tuple[Isolation, ...] = get_args(Isolation)


class IsolationError(GuidedGenError):
    """An isolation level was asked for that this machine does not have."""


def choose_isolation(wanted: Isolation | Literal["auto"]) -> Isolation:
    """`wanted` if this machine has it, for "auto" the strongest level. Raises `IsolationError`; never goes lower."""
    if wanted == "auto":
        for level in LEVELS[:-1]:
            if why_unavailable(level) is None:
                return level
        raise IsolationError(f"No isolation level works on this machine: {why_unavailable('rlimits')}.")
    if wanted not in LEVELS:
        raise IsolationError(f"There is no isolation level '{wanted}': choose one of auto, {', '.join(LEVELS)}.")
    reason = why_unavailable(wanted)
    if reason is not None:
        raise IsolationError(f"The isolation level '{wanted}' is not available here: {reason}.")
    return wanted


def available_levels() -> tuple[Isolation, ...]:
    """The levels that work on this machine, strongest first, without "none"."""
    return tuple(level for level in LEVELS[:-1] if why_unavailable(level) is None)


@cache
def why_unavailable(level: Isolation) -> str | None:
    """None if a program runs at `level` on this machine, else the reason why not. Probed once a process."""
    if level == "full" and shutil.which("bwrap") is None:
        return "bubblewrap (bwrap) is not installed"
    if level != "none" and os.uname().machine not in seccomp.MACHINES:
        return f"the filter of system calls knows no {os.uname().machine}"
    configuration = {"program": "def probe():\n return 1", "entry_point": "probe", "preamble": (), "preload": ()}
    try:
        with Sandbox(level, ProgramLimits(), configuration) as sandbox:
            deadline = time.monotonic() + 20
            sandbox.send(((), {}), deadline)
            how = sandbox.receive(deadline)[0]
    except (SandboxDied, SandboxTimeout, OSError) as error:
        return f"a trial program did not start ({error or 'no answer'})"
    return None if how == "exited" else f"a trial program ended with '{how}'"
