"""What attacks may try to reach, and the means to see whether they did. In their programs these words are filled in:

@TESTS@    a world-readable file with the tests, expected tokens included
@OUTSIDE@  a world-writable folder
@CANARY@   a process of the judge's user with the tokens in its environment and memory
@JUDGE@    the judge's own process
@PORT@     a TCP and UDP port that somebody listens to
@SOCKET@   the file of a socket that somebody listens to
@MARK@     a word to leave somewhere, unique to the run; also the name of an abstract socket, and of a key of the caller's
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from .launch import process_sign
from .seccomp import MACHINES, REFUSED

IPC_RMID, KEYCTL_SEARCH, SESSION_KEYRING = 0, 10, ctypes.c_long(-3)
libc = ctypes.CDLL(None, use_errno=True)


class Arena:
    """Use as a context manager. `begin` before each attack, `escapes` after it."""

    def __enter__(self) -> Arena:
        self._folder = tempfile.TemporaryDirectory(prefix="judge-arena-", ignore_cleanup_errors=True)
        root = Path(self._folder.name)
        root.chmod(0o755)
        self._mark = "mark" + secrets.token_hex(8)
        self.tokens = {secrets.token_hex(16): secrets.token_hex(16) for _ in range(2)}
        self._outside = root / "outside"
        self._outside.mkdir()
        self._outside.chmod(0o777)
        (self._outside / "precious").write_text("kept")
        self._tests_file = root / "tests.jsonl"
        self._tests_file.write_text("".join(json.dumps(pair) + "\n" for pair in self.tokens.items()))
        self._tests_file.chmod(0o666)
        self._listen(root / "socket")
        _key("add_key", b"user", self._mark.encode(), b"secret", ctypes.c_long(6), SESSION_KEYRING)
        self._start_canary()
        self._watch = _Watch()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()
        self._end_canary()
        for listener in (*self._listeners.values(), self._udp):
            listener.close()
        self._folder.cleanup()

    def begin(self) -> None:
        """Take note of what is there before an attack."""
        self._before = self._leftovers()
        self._watch.longest = 0.0

    @property
    def standstill(self) -> float:
        """The longest time since `begin`, in seconds, for which another thread of this process did not run."""
        return self._watch.longest

    def filled_in(self, program: str) -> str:
        """`program` with the words above replaced."""
        words = {
            "TESTS": self._tests_file,
            "OUTSIDE": self._outside,
            "CANARY": self._canary.pid,
            "JUDGE": os.getpid(),
            "PORT": self._port,
            "SOCKET": self._socket,
            "MARK": self._mark,
        }
        for word, value in words.items():
            program = program.replace(f"@{word}@", str(value))
        return program

    def escapes(self) -> list[str]:
        """A sentence for each thing that was reached or left since `begin`; all is put back as it was."""
        left = sorted(self._leftovers() - self._before)
        for thing in left:
            if thing.startswith("shared memory"):
                libc.shmctl(int(thing.split()[-1]), IPC_RMID, None)
            elif thing.startswith("the file"):
                Path(thing.removeprefix("the file ")).unlink(missing_ok=True)
        return [f"left behind: {thing}" for thing in left] + self._reached()

    def _listen(self, path: Path) -> None:
        tcp = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._port, self._socket = tcp.getsockname()[1], path
        self._listeners = {"TCP connection": tcp}
        for name, address in (("connection to an abstract socket", f"\0{self._mark}"), ("connection to a socket", str(path))):
            listener = self._listeners[name] = socket.socket(socket.AF_UNIX)
            listener.bind(address)
            listener.listen()
        path.chmod(0o777)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self._port))
        for listener in (*self._listeners.values(), self._udp):
            listener.setblocking(False)

    def _start_canary(self) -> None:
        program = "import os, sys\nkept = dict(os.environ)\nfor line in sys.stdin: print(line, end='', flush=True)"
        self._canary = subprocess.Popen(
            [sys.executable, "-S", "-c", program],
            env={f"T{k}": k + v for k, v in self.tokens.items()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _canary_answers(self) -> bool:
        """Whether it is neither killed nor stopped. It is asked, for a signal may be on its way to a process that still runs."""
        assert self._canary.stdin is not None and self._canary.stdout is not None
        try:
            self._canary.stdin.write(b"still there?\n")
            self._canary.stdin.flush()
        except BrokenPipeError:
            return False
        while not select.select([self._canary.stdout], [], [], 0.02)[0]:
            if Path(f"/proc/{self._canary.pid}/status").read_text().split("State:", 1)[1].split()[0] in "Tt":
                return False
        return self._canary.stdout.readline() != b""

    def _end_canary(self) -> None:
        self._canary.kill()
        self._canary.wait()
        for pipe in (self._canary.stdin, self._canary.stdout):
            with contextlib.suppress(BrokenPipeError):  # what it was asked and did not read
                pipe.close()  # type: ignore[union-attr]

    def _leftovers(self) -> set[str]:
        """Processes, temporary folders, descriptors of the judge and shared memory that are there now; processes are killed."""
        found = {f"the folder {path.name}" for path in Path(tempfile.gettempdir()).glob(f"guided-gen-{process_sign()}-*")}
        found |= {f"the file {path}" for folder in ("/dev/shm", "/var/tmp") for path in Path(folder).glob(f"*{self._mark}*")}
        found |= {f"descriptor {path.name} ({path.readlink()})" for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
        shared = Path("/proc/sysvipc/shm")
        if shared.exists():
            found |= {f"shared memory {line.split()[1]}" for line in shared.read_text().splitlines()[1:]}
        if _key("keyctl", ctypes.c_long(KEYCTL_SEARCH), SESSION_KEYRING, b"user", f"planted-{self._mark}".encode(), 0) > 0:
            found.add("a key")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if process_sign().encode() in command.split(b"\0") or self._mark.encode() in command:
                found.add(f"process {process.name}")
                if int(process.name) != os.getpid():
                    os.kill(int(process.name), 9)
        return found

    def _reached(self) -> list[str]:
        reached = []
        for name, listener in self._listeners.items():
            try:
                listener.accept()[0].close()
                reached.append(f"a {name} was made")
            except BlockingIOError:
                continue
        try:
            self._udp.recv(100)
            reached.append("a datagram arrived")
        except BlockingIOError:
            pass
        if {path.name for path in self._outside.iterdir()} != {"precious"}:
            reached.append("the folder outside was changed")
            for path in self._outside.iterdir():
                if path.name != "precious":
                    path.unlink()
        if len(self._tests_file.read_text().splitlines()) != len(self.tokens):
            reached.append("the file with the tests was changed")
        if not self._canary_answers():
            reached.append("another process of the user was killed or stopped")
            self._end_canary()
            self._start_canary()
        return reached


class _Watch:
    """A thread beside the judge's that measures for how long it did not run."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._stopped.wait(0.005):
            now = time.perf_counter()
            self.longest, last = max(self.longest, now - last), now


def _key(call: str, *arguments: object) -> int:
    """A system call about keys, of which the C library knows nothing. -1 where the kernel has none."""
    libc.syscall.restype = ctypes.c_long
    machine = os.uname().machine
    return int(libc.syscall(REFUSED[call][MACHINES[machine][1]], *arguments)) if machine in MACHINES else -1
