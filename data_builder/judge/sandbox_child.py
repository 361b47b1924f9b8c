"""Runs inside the sandbox: takes one program and a series of inputs, runs each in a fresh process, answers with what came out.

The process that reads this code is the *supervisor*: it never executes a line of the program. For each test it forks a *test
process* that limits itself, compiles and runs the program on one input, and reports. Expected outputs are unknown here;
whatever the test process claims is only its own answer. Standard library only; sent to the interpreter as code, so that
nothing of this package has to be visible inside.

Requests and replies are frames (nonce, length, payload), payloads are `wire` values:
    request  configuration (dict), then one input a test: a tuple of arguments, or the text of standard input
    reply    "ready", then for each test (how, code, seconds, dirty, report, stdout); how is exited, signalled, timeout or output
"""

# pathlib, signal and contextlib would cost each start some milliseconds.
# ruff: noqa: PTH208, SIM105
from __future__ import annotations

import gc
import os
import select
import struct
import sys
import time
from types import ModuleType
from typing import Any, NoReturn

from . import confinement
from .wire import WireError, decode, encode

PROGRAM = "<program>"
SIGKILL = 9


def main() -> None:
    requests, replies = take_over_standard_streams()
    config = read_frame(requests)
    confinement.enter(config)
    preamble: dict[str, Any] = {}
    # Imports that every test would repeat are done once, before the forks. One that fails here fails in the program.
    for line in [*config["preamble"], *(f"import {name} as _" for name in config["preload"])]:
        try:
            exec(line, preamble)
        except BaseException:
            continue
    for name in ("__builtins__", "_"):
        preamble.pop(name, None)
    gc.freeze()
    write_frame(replies, config["nonce"], "ready")
    while True:
        write_frame(replies, config["nonce"], _run_test(config, preamble, read_frame(requests), requests, replies))


def read_frame(descriptor: int) -> Any:
    header = _read_exactly(descriptor, 12)
    # The judge's own words: the caps are for what comes from programs.
    return decode(_read_exactly(descriptor, struct.unpack("<I", header[8:])[0]), max_bytes=1 << 30, max_hashed_items=1 << 30)


def write_frame(descriptor: int, nonce: bytes, value: Any) -> None:
    payload = encode(value)
    _write_all(descriptor, nonce + struct.pack("<I", len(payload)) + payload)


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = os.read(descriptor, min(size - len(data), 1 << 20))
        if not chunk:
            os._exit(0)  # the judge is gone, or done with this program
        data += chunk
    return bytes(data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def take_over_standard_streams() -> tuple[int, int]:
    """Move the two ends of the protocol away from descriptors 0 and 1, which become /dev/null."""
    requests, replies = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return requests, replies


def _run_test(config: dict[str, Any], preamble: dict[str, Any], value: Any, requests: int, replies: int) -> tuple[Any, ...]:
    report, report_end = os.pipe()
    output, output_end = os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        for descriptor in (requests, replies, report, output):
            os.close(descriptor)
        _test_process(config, preamble, value, report_end, output_end)
    os.close(report_end)
    os.close(output_end)
    how, buffers = _supervise(pid, report, output, requests, start + config["wall_seconds"], config["output_bytes"])
    os.close(report)
    os.close(output)
    _, status = os.waitpid(pid, 0)
    confinement.end_stragglers()
    if how == "exited" and os.WIFSIGNALED(status):
        how = "signalled"
    code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    dirty = bool(os.listdir(os.curdir))
    return how, code, time.monotonic() - start, dirty, buffers[report], buffers[output]


def _supervise(pid: int, report: int, output: int, requests: int, deadline: float, cap: int) -> tuple[str, dict[int, bytes]]:
    """Collect what a test process writes until it exits, oversteps `cap` bytes on one stream, or the deadline."""
    watched = os.pidfd_open(pid)
    buffers = {report: bytearray(), output: bytearray()}
    poll = select.poll()
    poll.register(watched, select.POLLIN)
    poll.register(requests, 0)  # only its hang-up: the judge gave up
    for descriptor in buffers:
        os.set_blocking(descriptor, False)
        poll.register(descriptor, select.POLLIN)
    how = ""
    while not how:
        ready = dict(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
        for descriptor, buffer in buffers.items():
            if descriptor in ready and not _drain(descriptor, buffer, cap):
                poll.unregister(descriptor)
            if len(buffer) > cap:
                how = "output"
        if requests in ready:
            confinement.end_stragglers()
            os._exit(0)
        if watched in ready:
            how = how or "exited"
        elif time.monotonic() >= deadline:
            how = how or "timeout"
    if how == "exited":
        for descriptor, buffer in buffers.items():
            _drain(descriptor, buffer, cap)
    else:
        os.kill(pid, SIGKILL)
    os.close(watched)
    return how, {descriptor: bytes(buffer[:cap]) for descriptor, buffer in buffers.items()}


def _drain(descriptor: int, buffer: bytearray, cap: int) -> bool:
    """Read what is there, up to just over `cap`; False at the end of the stream."""
    while len(buffer) <= cap:
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        buffer += chunk
    return True


def _test_process(config: dict[str, Any], preamble: dict[str, Any], value: Any, report: int, output: int) -> NoReturn:
    try:
        os.setsid()
        if config["entry_point"] is None:
            stdin = os.memfd_create("stdin")
            _write_all(stdin, value.encode("utf-8", "surrogatepass"))
            os.lseek(stdin, 0, os.SEEK_SET)
            os.dup2(stdin, 0)
            os.close(stdin)
            os.dup2(output, 1)
        os.close(output)
        confinement.enter_test(config)
        random = sys.modules.get("random")
        if random:
            random.seed(0)  # the same verdict for the same program
        answer = _answer(config, preamble, value)
        _write_all(report, encode(answer))
    finally:
        os._exit(0)


def _answer(config: dict[str, Any], preamble: dict[str, Any], value: Any) -> tuple[Any, ...]:
    """(kind, detail): returned (bytes), raised (type, message, place), or finished, syntax, memory, unsupported (text)."""
    entry_point = config["entry_point"]
    try:
        code = _compiled(config["program"], is_script=entry_point is None)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return "syntax", "".join(described(error))
    # Answers that test themselves under `if __name__ == "__main__"` must not do so when a function is to be called.
    module = ModuleType("__main__" if entry_point is None else "program")
    module.__dict__.update(preamble)
    sys.modules[module.__name__] = module
    try:
        if entry_point is None:
            try:
                exec(code, module.__dict__)
            except SystemExit:
                pass
            _finish()
            return "finished", ""
        exec(code, module.__dict__)
        return "returned", encode(_find(module, entry_point)(*value[0], **value[1]))
    except WireError as error:
        return "unsupported", str(error)
    except MemoryError:
        return "memory", "MemoryError"
    except BaseException as error:
        return "raised", described(error)


def _compiled(program: str, is_script: bool) -> Any:
    """The reference harness puts a script into a function, so that many of APPS' solutions end with a `return` outside any.

    There it ends the script. Functions below are left alone. Raises what `compile` raises for all else that is no Python.
    """
    try:
        return compile(program, PROGRAM, "exec", dont_inherit=True)
    except SyntaxError as error:
        if not is_script or error.msg != "'return' outside function":
            raise
    import ast

    class ReturnEndsScript(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.AST) -> ast.AST:
            return node

        visit_AsyncFunctionDef = visit_Lambda = visit_ClassDef = visit_FunctionDef

        def visit_Return(self, node: ast.Return) -> ast.AST:
            return ast.copy_location(ast.Raise(ast.Name("SystemExit", ast.Load()), None), node)

    tree = ast.fix_missing_locations(ReturnEndsScript().visit(ast.parse(program)))
    return compile(tree, PROGRAM, "exec", dont_inherit=True)


def _find(module: ModuleType, entry_point: str) -> Any:
    """The function of that name, or the method of a fresh `Solution()`."""
    found = module.__dict__.get(entry_point)
    if found is None and "Solution" in module.__dict__:
        found = getattr(module.__dict__["Solution"](), entry_point, None)
    if found is None:
        raise NameError(f"the program defines no {entry_point!r}")
    return found


def _finish() -> None:
    """What the interpreter does at a normal end: wait for threads, run exit functions, flush."""
    threading, atexit = sys.modules.get("threading"), sys.modules.get("atexit")
    if threading:
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
    if atexit:
        atexit._run_exitfuncs()
    for stream in {sys.stdout, sys.__stdout__}:
        if stream is not None and not stream.closed:
            stream.flush()


def described(error: BaseException) -> tuple[str, str, str]:
    """("ValueError: ", "text", " (line 3)"): type, message, and the innermost line of the program itself."""
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == PROGRAM:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = getattr(error, "msg", None) if isinstance(error, SyntaxError) else None
    return f"{type(error).__name__}: ", (message or str(error))[:300], f" (line {line})" if line else ""
