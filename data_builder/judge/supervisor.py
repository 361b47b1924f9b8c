"""Runs inside the sandbox: takes one program and a series of tests, runs each in a fresh process, answers with what came out.

The process that reads this code is the *supervisor*: it never executes a line of the program. For each test it forks a *test
process* (`program_process.py`) and watches it. Expected outputs are unknown here; whatever the test process claims is only its
own answer. Standard library only; sent to the interpreter as code, so that nothing of this package has to be visible inside.

    request  the configuration (dict), then one a test: (arguments, keyword arguments), the text of standard input, or None for a
             conversation: then the messages (bytes) to pass on to the test process, and None at its end
    reply    ("ready",), then for each test (how, code, seconds, dirty, report, stdout), where how is exited, signalled, timeout
             or output; in a conversation before it ("said", message) for each message that was passed on
"""

# pathlib, signal and contextlib would cost each start some milliseconds.
# ruff: noqa: PTH208
from __future__ import annotations

import gc
import os
import select
import struct
import time

from . import confinement, program_process, semaphores
from .frames import Line, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGKILL = 9


def main() -> None:
    """Run tests until the judge hangs up."""
    line = Line()
    config = line.read()
    line.nonce = config["nonce"]
    stdin = os.memfd_create("stdin")
    confinement.enter(config)
    program_process.offer_names()
    if config["level"] == "rlimits":
        semaphores.offer()
    preamble: dict[str, Any] = {}
    # Imports that every test would repeat are done once, before the forks. One that fails here fails in the program.
    for statement in [*config["preamble"], *(f"import {name} as _" for name in config["preload"])]:
        try:
            exec(statement, preamble)
        except BaseException:
            continue
    for name in ("__builtins__", "_"):
        preamble.pop(name, None)
    compile("", "<warm>", "exec")  # makes the compiler's own types, which takes a millisecond, before the forks
    gc.freeze()
    line.write("ready")
    while True:
        _run_test(config, preamble, line, stdin, line.read())


def _run_test(config: dict[str, Any], preamble: dict[str, Any], line: Line, stdin: int, given: Any) -> None:
    if type(given) is str:
        os.ftruncate(stdin, 0)
        os.lseek(stdin, 0, os.SEEK_SET)
        write_all(stdin, given.encode("utf-8", "surrogatepass"))
        os.lseek(stdin, 0, os.SEEK_SET)
    (report, report_end), (output, output_end), (inbox_end, inbox) = os.pipe(), os.pipe(), os.pipe()
    start = time.monotonic()
    pid = os.fork()
    if pid == 0:
        for descriptor in (line.requests, line.replies, report, output, inbox):
            os.close(descriptor)
        program_process.run(config, preamble, given, stdin, inbox_end, report_end, output_end)
    for descriptor in (report_end, output_end, inbox_end):
        os.close(descriptor)
    watch = _Watch(config, line, pid, report, output, inbox, given is None)
    how = watch.until_it_ends(start + config["wall_seconds"])
    watch.close()
    _, status = os.waitpid(pid, 0)
    confinement.end_stragglers()
    if how == "exited" and os.WIFSIGNALED(status):
        how = "signalled"
    code = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    dirty = any(os.listdir(folder) for folder in config["written"])
    line.write(how, code, time.monotonic() - start, dirty, watch.read(report), watch.read(output))
    while watch.in_conversation:
        watch.in_conversation = line.read() is not None


class _Watch:
    """Collects what a test process writes, and passes messages between it and the judge."""

    def __init__(
        self, config: dict[str, Any], line: Line, pid: int, report: int, output: int, inbox: int, in_conversation: bool
    ) -> None:
        self.in_conversation = in_conversation
        self._line, self._pid, self._cap = line, pid, config["output_bytes"]
        self._report, self._inbox = report, inbox
        self._written = {report: bytearray(), output: bytearray()}
        self._unsent = bytearray()
        self._expects_message = False
        self._ended = os.pidfd_open(pid)
        self._poll = select.poll()
        self._poll.register(self._ended, select.POLLIN)
        self._poll.register(line.requests, select.POLLIN if in_conversation else 0)  # else only its hang-up: the judge gave up
        for descriptor in self._written:
            os.set_blocking(descriptor, False)
            self._poll.register(descriptor, select.POLLIN)
        os.set_blocking(inbox, False)

    def until_it_ends(self, deadline: float) -> str:
        """exited; or why the process was killed: timeout, or output for more than the most on one stream."""
        how = ""
        while not how:
            ready = dict(self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
            for descriptor, buffer in self._written.items():
                if descriptor in ready and not self._drain(descriptor):
                    self._poll.unregister(descriptor)
                if len(buffer) > self._cap:
                    how = "output"
            if self._line.requests in ready:
                self._hear(ready[self._line.requests])
            if self._inbox in ready:
                self._send()
            if self._expects_message:
                self._pass_on()
            if self._ended in ready:
                how = how or "exited"
            elif time.monotonic() >= deadline:
                how = how or "timeout"
        if how == "exited":
            for descriptor in self._written:
                self._drain(descriptor)
        else:
            os.kill(self._pid, SIGKILL)
        return how

    def read(self, descriptor: int) -> bytes:
        return bytes(self._written[descriptor][: self._cap])

    def close(self) -> None:
        for descriptor in (self._ended, self._inbox, *self._written):
            if descriptor >= 0:
                os.close(descriptor)

    def _drain(self, descriptor: int) -> bool:
        """Read what is there, up to just over the most; False at the end of the stream."""
        buffer = self._written[descriptor]
        while len(buffer) <= self._cap:
            try:
                chunk = os.read(descriptor, 1 << 16)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            buffer += chunk
        return True

    def _hear(self, event: int) -> None:
        """Take a message from the judge, or its hang-up."""
        if not event & select.POLLIN:
            confinement.end_stragglers()
            os._exit(0)
        message = self._line.read()
        if message is None:
            self.in_conversation = False
            self._poll.unregister(self._line.requests)
            self._poll.register(self._line.requests, 0)
            self._stop_sending()
        else:
            self._unsent += struct.pack("<I", len(message)) + message
            self._expects_message = True
            self._send()

    def _send(self) -> None:
        """Send what the pipe takes; the rest when it is ready for more."""
        try:
            while self._unsent:
                del self._unsent[: os.write(self._inbox, self._unsent)]
        except BlockingIOError:
            self._poll.register(self._inbox, select.POLLOUT)
        except BrokenPipeError:
            self._stop_sending()
        else:
            self._poll_no_more(self._inbox)

    def _stop_sending(self) -> None:
        self._unsent.clear()
        self._poll_no_more(self._inbox)
        if self._inbox >= 0:
            os.close(self._inbox)
            self._inbox = -1

    def _poll_no_more(self, descriptor: int) -> None:
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            return

    def _pass_on(self) -> None:
        """Tell the judge the next message, if it is complete. An empty one says that what follows is no message but a report."""
        written = self._written[self._report]
        if len(written) < 4:
            return
        size = struct.unpack_from("<I", written)[0]
        if 0 < size <= len(written) - 4:
            self._expects_message = False
            self._line.write("said", bytes(written[4 : 4 + size]))
            del written[: 4 + size]
