"""Runs inside a sandbox of its own: executes a problem's assert statements, with a stand-in for the program's entry point.

Frames as in `sandbox_child`:
    request  ("test", code, entry point); or, after a call, ("value", value), ("raise", type name, message) or ("stop",)
    reply    "ready"; then ("call", arguments, keyword arguments) or ("end", status, error)
"""

from __future__ import annotations

import builtins
from typing import Any

from . import confinement
from .sandbox_child import described, read_frame, take_over_standard_streams, write_frame
from .wire import WireError


class Stopped(BaseException):
    """The program gave no answer; not an Exception, so that no test swallows it."""


class ProgramError(Exception):
    """The program raised something that is no builtin exception."""


def main() -> None:
    requests, replies = take_over_standard_streams()
    config = read_frame(requests)
    nonce = config["nonce"]
    confinement.enter(config)
    config["rlimits"].pop("RLIMIT_CPU", None)  # this process serves many tests; each has its deadline
    confinement.enter_test(config)

    def call(*args: Any, **kwargs: Any) -> Any:
        write_frame(replies, nonce, ("call", args, kwargs))
        kind, *answer = read_frame(requests)
        if kind == "value":
            return answer[0]
        if kind == "stop":
            raise Stopped
        type_name, message = answer
        raised = getattr(builtins, type_name, None)
        if isinstance(raised, type) and issubclass(raised, Exception) and raised is not AssertionError:
            raise raised(message)
        raise ProgramError(f"{type_name}: {message}")

    write_frame(replies, nonce, "ready")
    while True:
        _, code, entry_point = read_frame(requests)
        write_frame(replies, nonce, ("end", *_run(code, {entry_point: call, "__name__": "test"})))


def _run(code: str, namespace: dict[str, Any]) -> tuple[str, str]:
    try:
        exec(compile(code, "<program>", "exec"), namespace)
    except AssertionError as error:
        return "wrong_answer", "".join(described(error))
    except WireError as error:
        return "exception", f"the test passes {error}, which cannot be sent"
    except BaseException as error:
        return "exception", "".join(described(error))
    return "passed", ""
