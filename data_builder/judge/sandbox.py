"""One sandbox: a confined process that takes frames and answers with frames, and is gone without trace after `close`."""

from __future__ import annotations

import os
import secrets
import select
import struct
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import launch
from .verdict import Isolation, ProgramLimits
from .wire import WireError, decode_frame, encode

START_SECONDS = 20.0
CLOSE_SECONDS = 5.0
NO_LIMIT = 1 << 32  # of the judge's own words
# What a sandbox says: scalars, among them bytes that some other process understands.
Frame = tuple[Any, ...]


class SandboxDied(Exception):
    """The process inside is gone, or says things that are no frames."""


class SandboxTimeout(Exception):
    """No complete answer by the deadline."""


class Sandbox:
    """Started at construction. `configuration` goes to `main_module` inside; see there for the frames that it answers.

    Raises `SandboxDied` or `SandboxTimeout` if the sandbox does not come up.
    """

    def __init__(
        self, level: Isolation, limits: ProgramLimits, configuration: dict[str, Any], main_module: str = "supervisor"
    ) -> None:
        self._supervises = main_module == "supervisor"
        self._nonce = secrets.token_bytes(8)
        # The largest honest reply: a report and a standard output at their caps.
        self._reply_bytes = 2 * limits.output_bytes + 4096
        uid = launch.unprivileged_uid() if level != "none" else None
        self._temp: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if level in ("rlimits", "none"):
                self._temp = tempfile.mkdtemp(prefix=f"guided-gen-{launch.process_sign()}-")
                if uid is not None:
                    os.chown(self._temp, uid, uid)
            self._process = subprocess.Popen(
                launch.command(level, limits),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=launch.ENVIRONMENT,
                cwd="/",
                bufsize=0,
                start_new_session=True,
            )
            assert self._process.stdin is not None and self._process.stdout is not None
            self._requests, self._replies = self._process.stdin.fileno(), self._process.stdout.fileno()
            os.set_blocking(self._requests, False)
            os.set_blocking(self._replies, False)
            confinement = launch.confinement(level, limits, self._temp or "/tmp", uid)
            deadline = time.monotonic() + START_SECONDS
            self._write(launch.boot_code(main_module), deadline)
            self.send({**confinement, **configuration, "nonce": self._nonce}, deadline)
            if self.receive(deadline) != ("ready",):
                raise SandboxDied("an unexpected greeting")
        except BaseException:
            self.close()
            raise

    def send(self, value: Any, deadline: float) -> None:
        """Send one value. Raises `SandboxDied`, `SandboxTimeout`, and `WireError` for a value that cannot cross."""
        payload = encode(value, NO_LIMIT)
        self._write(self._nonce + struct.pack("<I", len(payload)) + payload, deadline)

    def receive(self, deadline: float) -> Frame:
        """The next frame from inside. Raises `SandboxDied` and `SandboxTimeout`."""
        header = self._read(12, deadline)
        size = struct.unpack("<I", header[8:])[0]
        if header[:8] != self._nonce or size > self._reply_bytes:
            raise SandboxDied("an answer that is no frame")
        try:
            return decode_frame(self._read(size, deadline))
        except WireError as error:
            raise SandboxDied(str(error)) from None

    def close(self) -> None:
        """Kill everything inside and wait until it is gone; remove the temporary folder."""
        if self._process is not None:
            self._end(self._process)
        if self._temp is not None:
            _remove_tree(self._temp)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        if self._temp is None:
            for pid in _children(process.pid):
                # The first process of a PID namespace: the one outside ends once all that was inside is gone.
                _kill(pid)
        if self._temp is None or self._supervises:
            # Elsewhere a supervisor ends what it started, and itself, once its requests have ended.
            watched = os.pidfd_open(process.pid)
            with suppress(SandboxTimeout):
                self._wait(watched, select.POLLIN, time.monotonic() + CLOSE_SECONDS)
            os.close(watched)
        for pid in _children(process.pid):
            _kill_group(pid)
            _kill(pid)
        process.kill()
        process.wait()
        process.stdout.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._requests, select.POLLOUT, deadline)
            try:
                view = view[os.write(self._requests, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise SandboxDied(str(error)) from None

    def _read(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            self._wait(self._replies, select.POLLIN, deadline)
            chunk = os.read(self._replies, min(size - len(data), 1 << 20))
            if not chunk:
                raise SandboxDied("the process ended")
            data += chunk
        return bytes(data)

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise SandboxTimeout


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, 9)
    except ProcessLookupError:
        return


def _remove_tree(path: str) -> None:
    """Remove what a hostile program left: closed folders, its own included, and trees deeper than Python's recursion."""
    try:
        Path(path).rmdir()
    except OSError:
        for remover in (["chmod", "-R", "u+rwx", path], ["rm", "-rf", path]):
            subprocess.run(remover, stderr=subprocess.DEVNULL, env=launch.ENVIRONMENT, check=False)
