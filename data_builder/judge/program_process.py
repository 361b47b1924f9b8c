"""Runs inside the sandbox, in a process forked for one test: limits itself, runs the program as CPython would, and reports.

A report is a frame: "returned" with bytes of `wire`; "raised" with type, message, place; or "finished", "syntax", "memory",
"unsupported" and "too_large" with text. In a conversation the process answers messages of (size, payload) instead; a report after
an empty message says why it does not.
"""

# pathlib, signal and contextlib would cost each start some milliseconds.
# ruff: noqa: SIM105
from __future__ import annotations

import _sitebuiltins
import builtins
import io
import os
import struct
import sys
from types import CodeType, ModuleType

from . import confinement
from .frames import write_all
from .remote import SCRIPT, Peer, described
from .wire import TooLarge, WireError, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

# What the compiler says of a program that is Python only where the reference harness of APPS puts it: inside a function.
ONLY_IN_A_FUNCTION = ("'return' outside function", "nonlocal declaration not allowed at module level", "no binding for nonlocal")


def offer_names() -> None:
    """Make up for what this interpreter was started without: `exit` and `quit`, which `site` makes, and /dev/stdin and its like.

    These lead to /proc, which a sandbox has not: to open one opens a copy of the descriptor.
    """
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    open_file, open_descriptor = io.open, os.open
    descriptors = {f"/dev/{name}": number for number, name in enumerate(("stdin", "stdout", "stderr"))}
    descriptors |= {f"{folder}/{number}": number for folder in ("/dev/fd", "/proc/self/fd") for number in range(3)}

    def number_of(file: Any) -> int | None:
        if isinstance(file, int):
            return None
        try:
            return descriptors.get(os.fsdecode(file))
        except TypeError:
            return None

    def open(file: Any, *arguments: Any, **keyword_arguments: Any) -> Any:
        number = number_of(file)
        return open_file(file if number is None else os.dup(number), *arguments, **keyword_arguments)

    def open_raw(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        number = number_of(path)
        return open_descriptor(path, flags, mode, dir_fd=dir_fd) if number is None else os.dup(number)

    builtins.open, io.open, os.open = open, open, open_raw  # type: ignore[assignment]


def run(
    config: dict[str, Any], preamble: dict[str, Any], given: Any, stdin: int, inbox: int, report: int, output: int
) -> NoReturn:
    """Does not return: the process ends here. `given` and the report are those of `supervisor`."""
    try:
        os.setsid()
        if type(given) is str:
            os.dup2(stdin, 0)
            os.dup2(output, 1)
        os.close(stdin)
        os.close(output)
        if given is not None:
            os.close(inbox)
        confinement.enter_test(config)
        random = sys.modules.get("random")
        if random:
            random.seed(0)  # the same verdict for the same program
        test = _Test(config, preamble)
        if given is None:
            test.converse(inbox, report)
        else:
            write_all(report, encode(test.answer(given), 2 * config["output_bytes"]))
    finally:
        os._exit(0)


class _Test:
    def __init__(self, config: dict[str, Any], preamble: dict[str, Any]) -> None:
        self._program, self._entry_point, self._most = config["program"], config["entry_point"], config["output_bytes"]
        # Answers that test themselves under `if __name__ == "__main__"` must not do so when a function is to be called.
        self._module = ModuleType("__main__" if self._entry_point is None else "program")
        self._module.__dict__.update(preamble, __file__=SCRIPT)
        sys.modules[self._module.__name__] = self._module
        sys.argv = [SCRIPT]

    def answer(self, given: Any) -> tuple[Any, ...]:
        """The report on one run."""
        return self._reported(lambda: self._called(*given) if self._entry_point else self._finished())

    def converse(self, inbox: int, report: int) -> None:
        """Answer what is asked about the program's names."""
        ended = self._reported(self._loaded)
        if ended[0] != "finished":
            write_all(report, struct.pack("<I", 0) + encode(ended, self._most))
            return

        def exchange(message: bytes) -> bytes:
            write_all(report, struct.pack("<I", len(message)) + message)
            return _read_message(inbox)

        Peer(exchange, self._most, root=_Names(self._find)).serve(_read_message(inbox))

    def _reported(self, run: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
        try:
            code = compiled(self._program, is_script=self._entry_point is None)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return "syntax", "".join(described(error, SCRIPT))
        try:
            self._code = code
            return run()
        except TooLarge as error:
            return "too_large", f"returned {error}"
        except WireError as error:
            return "unsupported", f"returned {error}"
        except MemoryError:
            return "memory", "MemoryError"
        except BaseException as error:
            return "raised", *described(error, SCRIPT)

    def _loaded(self) -> tuple[Any, ...]:
        exec(self._code, self._module.__dict__)
        return "finished", ""

    def _called(self, arguments: tuple[Any, ...], keyword_arguments: dict[str, Any]) -> tuple[Any, ...]:
        self._loaded()
        result = self._find(self._entry_point)(*arguments, **keyword_arguments)
        return "returned", encode(result, self._most)

    def _finished(self) -> tuple[Any, ...]:
        try:
            self._loaded()
        except SystemExit:
            pass
        _end_as_the_interpreter_does(self._module)
        return "finished", ""

    def _find(self, name: str) -> Any:
        """What the program calls so, or the method of a fresh `Solution()`."""
        names = self._module.__dict__
        if name in names:
            return names[name]
        solution = names["Solution"]() if "Solution" in names else None
        if not hasattr(solution, name):
            raise NameError(f"the program defines no {name!r}")
        return getattr(solution, name)


class _Names:
    """What the other side of a conversation asks for names."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        self._find = find

    def __getattr__(self, name: str) -> Any:
        return self._find(name)


def compiled(program: str, is_script: bool) -> CodeType:
    """Raises what `compile` raises for what is no Python.

    The reference harness of APPS puts a script into a function, so that many of its solutions end with a `return` outside any of
    their own, or call a variable of the script nonlocal. Only these are put into one here; their other variables stay global.
    """
    program = program.removeprefix("\ufeff")  # as in a file
    try:
        return compile(program, SCRIPT, "exec", dont_inherit=True)
    except SyntaxError as error:
        if not is_script or not (error.msg or "").startswith(ONLY_IN_A_FUNCTION):
            raise
    import ast

    body = ast.parse(program).body
    imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = [node for node in body if node not in imports]
    script = ast.parse("def script(): pass\nscript()")
    function: Any = script.body[0]
    function.body = rest
    script.body[:0] = imports
    ast.fix_missing_locations(script)
    code = compile(script, SCRIPT, "exec", dont_inherit=True)
    inside = next(constant for constant in code.co_consts if isinstance(constant, CodeType) and constant.co_name == "script")
    nonlocal_names = {name for node in ast.walk(script) if isinstance(node, ast.Nonlocal) for name in node.names}
    nonlocal_names |= {
        node.target.id for node in ast.walk(script) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    names = sorted({*inside.co_varnames, *inside.co_cellvars} - nonlocal_names)
    if names:
        function.body.insert(0, ast.Global(names))
        ast.fix_missing_locations(script)
        code = compile(script, SCRIPT, "exec", dont_inherit=True)
    return code


def _read_message(inbox: int) -> bytes:
    """The next message of the judge. The process ends with the conversation."""
    data = bytearray()
    while len(data) < 4 or len(data) < 4 + struct.unpack_from("<I", data)[0]:
        wanted = 4 + struct.unpack_from("<I", data)[0] if len(data) >= 4 else 4
        chunk = os.read(inbox, wanted - len(data))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data[4:])


def _end_as_the_interpreter_does(module: ModuleType) -> None:
    """Wait for threads, run exit functions, flush, and close the files that only the program's names hold."""
    threading, atexit = sys.modules.get("threading"), sys.modules.get("atexit")
    if threading:
        threading._shutdown()  # type: ignore[attr-defined]
    if atexit:
        atexit._run_exitfuncs()
    module.__dict__.clear()
    for stream in (sys.stdout, sys.__stdout__):
        try:
            if stream is not None:
                stream.flush()
        except (ValueError, OSError):  # closed, or detached
            continue
