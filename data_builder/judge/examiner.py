"""Where the expected outputs are: a trusted process that compares results and runs assert statements, in a sandbox of its own.

It never runs a line of a program. What a program returned is read, and compared, nowhere else: hostile bytes can take any time
and memory to become sets and dicts, so they do it where both are limited, and where nobody else waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from .program import GRACE_SECONDS, Conversation, Outcome, started_sandbox
from .sandbox import Frame, Sandbox, SandboxDied, SandboxTimeout
from .verdict import Isolation, ProgramLimits, Status
from .wire import WireError

# (status, what the program answered, shortened, error)
Examined = tuple[Status, str, str]


class Examiner:
    """Started at the first use, started again after a test that did not come back."""

    def __init__(self, isolation: Isolation, limits: ProgramLimits) -> None:
        self._isolation = isolation
        self._limits = limits
        self._sandbox: Sandbox | None = None

    def compare(self, outcome: Outcome, expected: Any, deadline: float) -> Examined:
        """Whether what the program returned or printed counts as `expected`."""
        try:
            end = min(deadline, time.monotonic() + self._limits.wall_seconds)
            what, *found = self._ask((outcome.status, outcome.value, expected), end)
        except SandboxTimeout:
            self.close()
            return "no_result", "", "the result cannot be read in time"
        except SandboxDied as error:
            self.close()
            return "no_result", "", f"the result cannot be read: {error}"
        if what == "unreadable":
            return "no_result", "", f"the result cannot be read: {found[0]}"
        rule, got = found
        return "wrong_answer" if rule is None else "passed", got, ""

    def alike(self, outcome: Outcome, others: Sequence[Any], deadline: float) -> tuple[int | None, bool]:
        """(which of `others`, results of the same kind, is the same, None: none of them; whether it is a result at all).

        Two results are the same if one counts as the other, as it stands. None and blank text are no results, nor is what cannot
        be read.
        """
        try:
            end = min(deadline, time.monotonic() + self._limits.wall_seconds)
            _, place, is_result = self._ask(("alike", outcome.status, outcome.value, list(others)), end)
        except (SandboxTimeout, SandboxDied):
            self.close()
            return None, False
        return place, is_result

    def run_asserts(self, code: str, entry_point: str, conversation: Conversation, deadline: float) -> Examined:
        """Run the assert statements in `code` against a program. Raises `WireError` where they pass what cannot be sent to it."""
        failed: Outcome | None = None
        deadline = min(deadline, time.monotonic() + self._limits.wall_seconds + GRACE_SECONDS)
        try:
            reply = self._ask(("test", code, entry_point), deadline)
            while reply[0] == "ask":
                answer = conversation.ask(reply[1])
                if isinstance(answer, Outcome):
                    # No assert can be asked about this: the test is over, whatever its statements make of the interruption.
                    failed = answer
                if time.monotonic() >= deadline:
                    raise SandboxTimeout
                reply = self._ask(None if failed else answer, deadline)
                if failed:
                    break
        except SandboxTimeout:
            self.close()
            return "timeout", "", "the test did not come to an end in time"
        except SandboxDied as error:
            self.close()
            return "no_result", "", f"the test broke off: {error}"
        if failed:
            if reply[0] == "ask":
                self.close()
            status: Status = "no_result" if failed.status in ("returned", "printed") else failed.status  # type: ignore[assignment]
            return status, "", failed.error
        _, result, got, error_text = reply
        if result == "unjudgeable":
            raise WireError(error_text)
        return result, got, error_text

    def close(self) -> None:
        """End the process."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def _ask(self, request: Any, deadline: float) -> Frame:
        if self._sandbox is None:
            self._sandbox = started_sandbox(self._isolation, self._limits, {}, "examiner_child")
        self._sandbox.send(request, deadline)
        return self._sandbox.receive(deadline)
