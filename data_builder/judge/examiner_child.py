"""Runs inside a sandbox of its own, with what is expected and without a program: compares results, and runs assert statements.

request  ("returned", bytes of the result, expected) or ("printed", text, expected): reply ("compared", rule or None, got)
         or ("unreadable", why)
         ("alike", "returned" or "printed", bytes or text, list of others): reply ("alike", index of the same or None, is result)
         ("test", code, entry point): replies ("ask", message) for the program, to be answered by its message or None where
         there is none; then ("end", status, last answer, error)
"""

from __future__ import annotations

import builtins
import sys

from . import confinement
from .comparison import compare_printed, compare_returned, shortened
from .frames import Line
from .remote import ASKED, TELLING, Broken, Peer, StandIn, described
from .wire import WireError, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

TEST = "test"  # the module of a test's classes and functions, and the file of its code
# What the reference solutions' authors left to the program's imports.
NAMES_OF_MODULES = {"np": "numpy"}
# Rules that are lenient to JSON's ways of writing what is expected; of two results neither is.
NOT_THE_SAME = {None, "wrapped", "integer-keys"}


def main() -> None:
    """Serve requests until the judge hangs up."""
    line = Line()
    config = line.read()
    line.nonce = config["nonce"]
    confinement.enter(config)
    config["rlimits"].pop("RLIMIT_CPU", None)  # this process serves many tests; each has its deadline
    confinement.enter_test(config)
    sys.setrecursionlimit(50_000)  # CPython compares nested values by recursion
    line.write("ready")
    while True:
        what, *details = line.read()
        if what == "test":
            line.write("end", *_run_test(line, config["output_bytes"], *details))
        elif what == "alike":
            line.write("alike", *_alike(*details))
        else:
            line.write(*_compared(what, *details))


def _compared(what: str, result: Any, expected: Any) -> tuple[Any, ...]:
    try:
        if what == "printed":
            return "compared", compare_printed(result, expected), shortened(result)
        value = decode(result)
        return "compared", compare_returned(value, expected), shortened(value)
    except WireError as error:
        return "unreadable", str(error)
    except (MemoryError, RecursionError) as error:
        return "unreadable", type(error).__name__


def _alike(how: str, result: Any, others: list[Any]) -> tuple[int | None, bool]:
    """(the index of the first that is the same, whether there is a result)."""
    try:
        compare: Callable[[Any, Any], str | None] = compare_printed if how == "printed" else compare_returned
        value, known = (result, others) if how == "printed" else (decode(result), [decode(other) for other in others])
        same = (i for i, other in enumerate(known) if {compare(value, other), compare(other, value)} - NOT_THE_SAME)
        return next(same, None), value is not None if how == "returned" else bool(value.strip())
    except (WireError, MemoryError, RecursionError):
        return None, False


def _run_test(line: Line, most_bytes: int, code: str, entry_point: str) -> tuple[str, str, str]:
    """(status, the last answer of a call, error); the status "unjudgeable" is the test's fault, not the program's."""

    def exchange(message: bytes) -> bytes:
        line.write("ask", message)
        answer = line.read()
        if answer is None:
            raise Broken("no answer")
        assert isinstance(answer, bytes)
        return answer

    peer = _Program(exchange, 2 * most_bytes)
    namespace = _Names(peer, entry_point)
    namespace.update(__name__=TEST)
    status, text = "passed", ""
    try:
        exec(compile(code, TEST, "exec"), namespace)
    except WireError as error:
        status, text = "unjudgeable", str(error)
    except Broken as error:
        status, text = "no_result", f"the program answered nonsense: {error}"
    except BaseException as error:
        status, text = _failed(error)
    return status, "" if status == "passed" else _shown(peer.last_answer), text


def _failed(error: BaseException) -> tuple[str, str]:
    if getattr(error, "from_program", False):
        kind, text, place = f"{type(error).__name__}: ", error.text, error.place  # type: ignore[attr-defined]
        status = "memory" if isinstance(error, MemoryError) else "exception"
    else:
        kind, text, place = described(error, TEST)
        status = "wrong_answer" if isinstance(error, AssertionError) else "exception"
    return status, f"{kind}{text}{place}"


def _shown(value: Any) -> str:
    return f"<{type(value).__name__}>" if isinstance(value, StandIn) else shortened(value)


class _Names(dict):  # type: ignore[type-arg]
    """The names of a test: those that it does not define are modules of the standard library, or the program's."""

    def __init__(self, program: Peer, entry_point: str) -> None:
        self._program, self._entry_point = program, entry_point

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) and name != self._entry_point:
            raise KeyError(name)
        module = NAMES_OF_MODULES.get(name, name)
        if module in sys.stdlib_module_names or name in NAMES_OF_MODULES:
            found = __import__(module)
        else:
            found = self._program.named(name)
        self[name] = found
        return found


class _Program(Peer):
    """The test's end of the conversation with the program, which gets what is passed to it and nothing else."""

    trusting = False
    last_answer: Any = ""

    def may_refer(self, value: Any) -> bool:
        return type(value).__module__ == TEST or hasattr(type(value), "__next__") or callable(value)

    def may_answer(self, target: Any, what: str, name: Any) -> bool:
        kind = type(target)
        if kind.__module__ == TEST:
            return what in ("call", "next") or name in ASKED or name in TELLING or not str(name).startswith("_")
        if hasattr(kind, "__next__"):
            return what == "next" or (what == "special" and name in ("__iter__", "__next__"))
        return what == "call" and callable(target)

    def ask(self, number: int, what: str, *details: Any, built: bool = False) -> tuple[Any, ...]:
        answer = super().ask(number, what, *details, built=built)
        if what == "call":
            self.last_answer = answer[1]
        return answer
