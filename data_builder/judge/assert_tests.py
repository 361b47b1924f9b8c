"""Tests that are assert statements (MBPP, HumanEval): run by a trusted examiner, never beside the program that they test.

In the examiner's process the entry point is a stand-in. Each call of it crosses to the program's own sandbox as plain
values and the result comes back as exact builtin types, so that no object of the program's making can reach an assert.
"""

from __future__ import annotations

import time
from typing import Any

from .program import Program, started_sandbox
from .sandbox import Sandbox, SandboxDied, SandboxTimeout
from .verdict import Isolation, Limits, Status, shortened
from .wire import WireError


class Examiner:
    """A process that runs assert statements. Started at the first use, started again after a test that did not come back."""

    def __init__(self, isolation: Isolation, limits: Limits) -> None:
        self._isolation = isolation
        self._limits = limits
        self._sandbox: Sandbox | None = None

    def ask(self, value: Any, deadline: float) -> tuple[Any, ...]:
        """Send a test, or the answer to a call; returns the next call or the end of the test. Raises like `Sandbox`."""
        if self._sandbox is None:
            self._sandbox = started_sandbox(self._isolation, self._limits, {}, "examiner_child")
        self._sandbox.send(value, deadline)
        reply: tuple[Any, ...] = self._sandbox.receive(deadline)
        return reply

    def close(self) -> None:
        """End the process."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None


def examine(examiner: Examiner, program: Program, code: str, entry_point: str, deadline: float) -> tuple[Status, str, str]:
    """Run the assert statements in `code` against `program`: (status, its last answer, error)."""
    got = ""
    failed: tuple[Status, str] | None = None
    try:
        reply = examiner.ask(("test", code, entry_point), deadline)
        while reply[0] == "call":
            outcome = program.run((reply[1], reply[2]), deadline)
            got = outcome.error if outcome.status != "returned" else shortened(outcome.value)
            if outcome.status == "returned":
                answer: tuple[Any, ...] = ("value", outcome.value)
            elif outcome.status == "exception":
                answer = ("raise", *outcome.value)
            else:
                # No assert can be asked about this: the test is over, whatever its statements make of the interruption.
                failed = ("no_result" if outcome.status == "printed" else outcome.status, outcome.error)
                answer = ("stop",)
            if time.monotonic() >= deadline:
                raise SandboxTimeout
            reply = examiner.ask(answer, deadline)
            if failed:
                break
    except SandboxTimeout:
        examiner.close()
        return "timeout", got, "the test did not come to an end in time"
    except (SandboxDied, WireError) as error:
        examiner.close()
        return "no_result", got, f"the test broke off: {error}"
    if failed:
        if reply[0] == "call":
            examiner.close()
        return failed[0], got, failed[1]
    status, error_text = reply[1:]
    return status, got, error_text
