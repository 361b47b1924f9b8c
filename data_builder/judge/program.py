"""One program in its sandbox: runs it on one input after another, each in a fresh process, and says what came of it."""

from __future__ import annotations

import ast
import heapq
import re
import signal
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ...engine.errors import GuidedGenError
from .sandbox import Frame, Sandbox, SandboxDied, SandboxTimeout
from .verdict import Isolation, ProgramLimits, Status
from .wire import WireError, decode_frame

# The names that programs written for APPS find there: the import preamble of its reference harness, and more of typing.
APPS_PREAMBLE = """
from typing import Any, Callable, DefaultDict, Deque, Dict, FrozenSet, Generator, Iterable, Iterator, List, Mapping
from typing import NamedTuple, Optional, Sequence, Set, Tuple, Type, TypeVar, Union
import sys
import time
import itertools
from itertools import accumulate, product, permutations, combinations
import collections
from collections import Counter, OrderedDict, deque, defaultdict, ChainMap
from functools import lru_cache
import math
from math import sqrt, sin, cos, tan, ceil, fabs, floor, gcd, exp, log, log2
import fractions
import numpy as np
import random
import heapq
from heapq import *
"""
# What a program imports itself is imported once before the forks, where it takes longer than a fork.
SLOW_IMPORTS = (
    *("collections", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "json", "numpy", "pandas"),
    *("random", "re", "scipy", "statistics", "string", "sympy", "typing"),
)
# No line of the program has run before a sandbox is up, so one that does not come up is the machine's failure: out of processes,
# or too busy. It is tried again after so many seconds.
START_PAUSES = (0.2, 2.0)
# What the supervisor may need on top of a test's own time to notice and report that it is over.
GRACE_SECONDS = 5.0
# What a process of the program may need to end when there is nothing more to ask.
HANG_UP_SECONDS = 2.0


class JudgeError(GuidedGenError):
    """The judge cannot do its work: a problem without tests, a sandbox that does not start."""


@dataclass(frozen=True)
class Outcome:
    """What one run came to: "returned" with the result as bytes of `wire`, "printed" with the text, "exception" with (type,
    message), or another failure.

    The bytes are the program's: they are read in an examiner's process, never in the judge's.
    """

    status: Literal["returned", "printed"] | Status
    value: Any = None
    error: str = ""


class Program:
    """`entry_point` is the function to call, None for a program that reads standard input. Use as a context manager."""

    def __init__(self, text: str, entry_point: str | None, isolation: Isolation, limits: ProgramLimits) -> None:
        words = set(re.findall(r"\w+", text))
        self._configuration = {
            "program": text,
            "entry_point": entry_point,
            "preamble": preamble(words),
            "preload": tuple(name for name in SLOW_IMPORTS if name in words),
        }
        self._isolation = isolation
        self._limits = limits
        self._sandbox: Sandbox | None = None

    def run(self, value: Any, deadline: float) -> Outcome:
        """Run on `value`: (arguments, keyword arguments) or the text of standard input. `deadline`: monotonic seconds."""
        reply = self.exchanged(value, self._end(deadline))
        return reply if isinstance(reply, Outcome) else self.ended(reply)

    def converse(self, deadline: float) -> Conversation:
        """A conversation with a fresh process that has loaded the program."""
        return Conversation(self, self._end(deadline))

    def close(self) -> None:
        """End the sandbox and everything in it."""
        if self._sandbox is not None:
            self._sandbox.close()
            self._sandbox = None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _end(self, deadline: float) -> float:
        """When a test that begins now must have told its end."""
        return min(deadline, time.monotonic() + self._limits.wall_seconds) + GRACE_SECONDS

    def exchanged(self, request: Any, end: float, is_answered: bool = True) -> Frame | Outcome:
        """The reply to a request; an outcome where there is none, and the sandbox is closed."""
        if self._sandbox is None:
            self._sandbox = started_sandbox(self._isolation, self._limits, self._configuration)
        try:
            self._sandbox.send(request, end)
            return self._sandbox.receive(end) if is_answered else ()
        except SandboxTimeout:
            self.close()
            return Outcome("timeout", error="no answer in time")
        except SandboxDied as error:
            self.close()
            return Outcome("no_result", error=f"the sandbox was destroyed: {error}")

    def ended(self, reply: Frame) -> Outcome:
        """The outcome of a test that has ended."""
        if tuple(map(type, reply)) != (str, int, float, bool, bytes, bytes):
            self.close()
            return Outcome("no_result", error="the answer is not one")
        how, code, seconds, dirty, report, output = reply
        if dirty:
            # It left files behind: the next test gets a new, empty sandbox.
            self.close()
        return self._outcome(how, code, seconds, report, output)

    def hang_up(self, end: float) -> None:
        """Tell the supervisor, if it is still there, that there are no more messages in this conversation."""
        if self._sandbox is not None:
            self.exchanged(None, end, is_answered=False)

    def _outcome(self, how: str, code: int, seconds: float, report: bytes, output: bytes) -> Outcome:
        text = output.decode("utf-8", "replace")
        if how == "timeout":
            return Outcome("timeout", text, f"not done after {self._limits.wall_seconds:g} s")
        if how == "output":
            return Outcome("no_result", text[:1000], f"more than {self._limits.output_bytes} bytes of output")
        if how == "signalled":
            if code == signal.SIGXCPU or (code == signal.SIGKILL and seconds >= self._limits.cpu_seconds):
                return Outcome("timeout", text, f"used more than {self._limits.cpu_seconds} s of processor time")
            return Outcome("no_result", text, f"killed by {_signal_name(code)}")
        try:
            kind, *details = decode_frame(report.removeprefix(bytes(4)))  # of a conversation
        except (WireError, ValueError):
            return Outcome("no_result", text, f"exited with code {code} and without a result")
        if kind == "finished" and self._configuration["entry_point"] is None:
            return Outcome("printed", text)
        if kind == "returned" and self._configuration["entry_point"] is not None and type(details[0]) is bytes:
            return Outcome("returned", details[0])
        error_text = "".join(detail for detail in details if type(detail) is str)[:500]
        if kind == "raised" and len(details) == 3:
            return Outcome("exception", (str(details[0]).removesuffix(": "), str(details[1])), error_text)
        failures: dict[Any, Status] = {"unsupported": "wrong_answer", "syntax": "syntax_error", "memory": "memory"}
        return Outcome(failures.get(kind, "no_result"), text, error_text)


class Conversation:
    """With a process of the program, which answers messages. Use as a context manager."""

    def __init__(self, program: Program, end: float) -> None:
        self._program, self._end = program, end
        self._outcome: Outcome | None = None

    def ask(self, message: bytes) -> bytes | Outcome:
        """The answer to `message`, or what the process came to instead."""
        if self._outcome is None:
            reply = self._program.exchanged(message, self._end)
            if not isinstance(reply, Outcome) and reply[:1] == ("said",) and type(reply[-1]) is bytes:
                return reply[-1]
            self._outcome = reply if isinstance(reply, Outcome) else self._program.ended(reply)
            self._program.hang_up(self._end)
        return self._outcome

    def __enter__(self) -> Conversation:
        begun = self._program.exchanged(None, self._end, is_answered=False)
        self._outcome = begun if isinstance(begun, Outcome) else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._outcome is None:
            reply = self._program.exchanged(None, time.monotonic() + HANG_UP_SECONDS)
            if not isinstance(reply, Outcome):
                self._program.ended(reply)


def started_sandbox(
    isolation: Isolation, limits: ProgramLimits, configuration: dict[str, Any], main_module: str = "supervisor"
) -> Sandbox:
    """A sandbox, tried a few times. Raises `JudgeError`."""
    for pause in (*START_PAUSES, None):
        try:
            return Sandbox(isolation, limits, configuration, main_module)
        except (SandboxDied, SandboxTimeout, OSError) as error:
            if pause is None:
                raise JudgeError(f"A sandbox at level '{isolation}' did not start: {error or 'no answer'}.") from error
            time.sleep(pause)
    raise AssertionError("unreachable")


def preamble(words: set[str]) -> tuple[str, ...]:
    """The lines of the preamble that bind one of `words`, which are those of the program: all of it takes 20 ms and numpy 100."""
    return tuple(line for line, names in preamble_names().items() if not words.isdisjoint(names))


@cache
def preamble_names() -> dict[str, set[str]]:
    """The statements of the preamble, with the names that each binds."""
    names = {}
    for node in ast.parse(APPS_PREAMBLE).body:
        assert isinstance(node, ast.Import | ast.ImportFrom)
        bound = {alias.asname or alias.name for alias in node.names}
        names[ast.unparse(node)] = set(heapq.__all__) if "*" in bound else bound
    return names


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
