"""What the judge says about a program, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "wrong_answer", "exception", "timeout", "memory", "syntax_error", "no_result"]
Isolation = Literal["full", "namespaces", "rlimits", "none"]


@dataclass(frozen=True)
class ProgramLimits:
    """What one program may use. CPU time decides a timeout, so that a busy machine changes no verdict; wall time ends sleepers.

    `cpu_seconds` (whole seconds, as the reference APPS harness: 4) and `wall_seconds` hold for a test, `program_seconds` (wall)
    for all tests of a program: tests that it leaves no time for are timeouts. `memory_bytes` is address space for each
    process, `output_bytes` what a test may print or return, `file_bytes` one file, `temp_bytes` the temporary folder.
    """

    cpu_seconds: int = 4
    wall_seconds: float = 12.0
    program_seconds: float = 60.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 8 << 20
    file_bytes: int = 16 << 20
    temp_bytes: int = 64 << 20
    open_files: int = 64
    processes: int = 24


@dataclass(frozen=True)
class FailedTest:
    """The first test that failed. `input`, `expected` and `got` are shortened; `input_digest` names the whole input."""

    index: int
    status: Status
    input: str
    input_digest: str
    expected: str
    got: str
    error: str


@dataclass(frozen=True)
class Verdict:
    """`status` is passed if every test passed, else the status of the first test that did not.

    `tests` has one status for each test that ran: all of them, unless the judge was told to stop at the first failure or the
    program is no valid Python. `isolation` is the level that was applied, `seconds` the wall time it took.
    """

    problem_id: str
    status: Status
    tests: tuple[Status, ...]
    failure: FailedTest | None
    isolation: Isolation
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether every test passed."""
        return self.status == "passed"
