"""The attack suite: hostile programs, run against the judge at an isolation level, and what they achieved.

A program wins by a *false pass* (the expected answers are random tokens, so only who finds them can give them) or by an
*escape*: something outside its sandbox that it read, changed or left behind. In the programs these words are filled in:
    @TESTS@    a world-readable file with the tests, expected tokens included
    @OUTSIDE@  a world-writable folder
    @CANARY@   a process of the judge's user with the tokens in its environment and memory
    @JUDGE@    the judge's own process
    @PORT@     a TCP and UDP port that somebody listens to
    @MARK@     a word to leave somewhere, unique to the run; also the name of an abstract socket
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..problems.problem import AssertTest, CallTest, Problem, StdinTest, Test
from . import attacks_on_the_machine, attacks_on_verdicts
from .judge import Judge
from .launch import process_sign
from .verdict import Isolation, Limits, Verdict

# Tight, so that programs that never end cost little time.
LIMITS = Limits(
    cpu_seconds=1,
    wall_seconds=1.5,
    program_seconds=10,
    memory_bytes=512 << 20,
    output_bytes=1 << 20,
    file_bytes=8 << 20,
    temp_bytes=32 << 20,
)
IPC_RMID = 0


@dataclass(frozen=True)
class Attack:
    """`about` says what `program` does; `kind` is how it is called."""

    name: str
    about: str
    program: str
    kind: Literal["call", "stdin", "assert"] = "call"


@dataclass(frozen=True)
class AttackResult:
    """`escapes` has one sentence for each thing that the attack reached or left outside its sandbox."""

    attack: Attack
    isolation: Isolation
    verdict: Verdict
    escapes: tuple[str, ...]

    @property
    def held(self) -> bool:
        return not self.verdict.passed and not self.escapes


ATTACKS: tuple[Attack, ...] = (
    *(Attack(name, *attack) for name, attack in attacks_on_verdicts.CALL.items()),
    *(Attack(name, *attack, kind="stdin") for name, attack in attacks_on_verdicts.STDIN.items()),
    *(Attack(name, *attack, kind="assert") for name, attack in attacks_on_verdicts.ASSERT.items()),
    *(Attack(name, *attack) for name, attack in attacks_on_the_machine.CALL.items()),
)


def run_attacks(isolation: Isolation, attacks: tuple[Attack, ...] = ATTACKS) -> Iterator[AttackResult]:
    """Run the attacks one after another at one level. What they leave behind is found, reported and removed."""
    with _Arena() as arena:
        for attack in attacks:
            yield arena.run(attack, isolation)


class _Arena:
    """Everything that an attack may try to reach, and the means to see whether it did."""

    def __enter__(self) -> _Arena:
        self._folder = tempfile.TemporaryDirectory(prefix="judge-arena-", ignore_cleanup_errors=True)
        root = Path(self._folder.name)
        root.chmod(0o755)
        self._mark = "mark" + secrets.token_hex(8)
        self._tokens = {secrets.token_hex(16): secrets.token_hex(16) for _ in range(2)}
        self._outside = root / "outside"
        self._outside.mkdir()
        self._outside.chmod(0o777)
        (self._outside / "precious").write_text("kept")
        self._tests_file = root / "tests.jsonl"
        self._tests_file.write_text("".join(json.dumps(pair) + "\n" for pair in self._tokens.items()))
        self._tests_file.chmod(0o666)
        self._tcp, self._udp, self._abstract = (
            socket.create_server(("127.0.0.1", 0), backlog=64),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            socket.socket(socket.AF_UNIX),
        )
        self._port = self._tcp.getsockname()[1]
        self._udp.bind(("127.0.0.1", self._port))
        self._abstract.bind(f"\0{self._mark}")
        self._abstract.listen()
        for listener in (self._tcp, self._udp, self._abstract):
            listener.setblocking(False)
        self._start_canary()
        return self

    def __exit__(self, *_: object) -> None:
        self._canary.kill()
        self._canary.wait()
        for listener in (self._tcp, self._udp, self._abstract):
            listener.close()
        self._folder.cleanup()

    def run(self, attack: Attack, isolation: Isolation) -> AttackResult:
        problem = Problem(
            attack.name, "", "attack", entry_point=None if attack.kind == "stdin" else "f", tests=self._tests(attack)
        )
        before = self._leftovers()
        with Judge(isolation, workers=1, limits=LIMITS, stop_at_first_failure=True) as judge:
            verdict = judge.judge(problem, self._filled_in(attack.program))
        left = sorted(self._leftovers() - before)
        for thing in left:
            if thing.startswith("shared memory"):
                ctypes.CDLL(None).shmctl(int(thing.split()[-1]), IPC_RMID, None)
        escapes = [f"left behind: {thing}" for thing in left]
        escapes += self._reached()
        if verdict.failure is not None and verdict.failure.got.startswith("ESCAPED"):
            escapes.append(verdict.failure.got.removeprefix("ESCAPED: "))
        return AttackResult(attack, isolation, verdict, tuple(escapes))

    def _tests(self, attack: Attack) -> tuple[Test, ...]:
        if attack.kind == "stdin":
            return tuple(StdinTest(f"{given}\n", f"{wanted}\n") for given, wanted in self._tokens.items())
        if attack.kind == "assert":
            return tuple(AssertTest(f"assert f({given!r}) == {wanted!r}") for given, wanted in self._tokens.items())
        return tuple(CallTest((given,), wanted) for given, wanted in self._tokens.items())

    def _filled_in(self, program: str) -> str:
        words = {
            "TESTS": self._tests_file,
            "OUTSIDE": self._outside,
            "CANARY": self._canary.pid,
            "JUDGE": os.getpid(),
            "PORT": self._port,
            "MARK": self._mark,
        }
        for word, value in words.items():
            program = program.replace(f"@{word}@", str(value))
        return program

    def _start_canary(self) -> None:
        program = "import os, time\nkept = dict(os.environ)\ntime.sleep(3600)"
        self._canary = subprocess.Popen(
            [sys.executable, "-S", "-c", program], env={f"T{k}": k + v for k, v in self._tokens.items()}
        )

    def _leftovers(self) -> set[str]:
        """Processes, temporary folders, descriptors of the judge and shared memory that are there now; processes are killed."""
        found = {f"the folder {path.name}" for path in Path(tempfile.gettempdir()).glob(f"guided-gen-{process_sign()}-*")}
        found |= {f"the file {path.name}" for folder in ("/dev/shm", "/var/tmp") for path in Path(folder).glob(f"*{self._mark}*")}
        found |= {f"descriptor {path.name} ({path.readlink()})" for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}
        shared = Path("/proc/sysvipc/shm")
        found |= (
            {f"shared memory {line.split()[1]}" for line in shared.read_text().splitlines()[1:]} if shared.exists() else set()
        )
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
        for name, listener in (("TCP connection", self._tcp), ("abstract socket", self._abstract)):
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
        if len(self._tests_file.read_text().splitlines()) != len(self._tokens):
            reached.append("the file with the tests was changed")
        state = Path(f"/proc/{self._canary.pid}/status").read_text().split("State:", 1)[1].split()[0]
        if self._canary.poll() is not None or state in "TtZ":
            reached.append("another process of the user was killed or stopped")
            self._canary.kill()
            self._canary.wait()
            self._start_canary()
        return reached
