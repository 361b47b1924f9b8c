"""Results as JSON lines: the first line says what the others are results of, each further one is of a problem and an arm.

A line is on disk, whole, once `add` returns; what a killed process left half-written is cut off by the next one, which goes on
from there. Lines of several files, or of several commands in one file, stand together only if what their first lines name agrees:
model, prompt, sampling, judge, data, value model, schedule.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.errors import GuidedGenError
from ..engine.files import errors_of

KEY = ("problem", "policy", "n", "scorer")
"""What a line is of. `scorer` is the one that guided the policy."""
NAMES = ("model", "value")
"""What a run calls things, told for the reader: their hashes are compared."""
OPTIONAL = ("value_sha256",)
"""Files whose runs differ in these are comparable where one of the runs has none."""


class LinesError(GuidedGenError):
    """A file of results that cannot be read, or results that do not belong together."""


@dataclass(frozen=True)
class Results:
    """`run`: the first line. `lines`: the others, in the order of their keys."""

    run: dict[str, Any]
    lines: list[dict[str, Any]]


def key_of(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(line.get(name, "")) for name in KEY)


def check_same(one: dict[str, Any], other: dict[str, Any], where: str, but_for: Sequence[str] = ()) -> None:
    """Raise LinesError where two runs differ; where either has none of `but_for`, that is no difference."""
    for name in sorted((one.keys() | other.keys()) - set(NAMES)):
        a, b = one.get(name), other.get(name)
        if a != b and not (name in but_for and None in (a, b)):
            raise LinesError(f"{where} are not comparable: {name} is {a!r} in one and {b!r} in the other")


class LineFile:
    """Results that are added to, by one process at a time. Use as a context manager. `done`: the keys of what is there."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Open `path`, new or of the same run. Raises LinesError where it is of another or in use."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.run = path, run
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise LinesError(f"another process is writing {path}") from None
        self._cut_half_written()
        if path.stat().st_size:
            found = read_results([path])
            check_same(found.run, run, f"the results in {path} and this run")
            self.done = {key_of(line) for line in found.lines}
        else:
            self._write({"run": run})
            self.done = set()

    def add(self, line: dict[str, Any]) -> None:
        """Store a line. Raises LinesError where there is one of its key."""
        if key_of(line) in self.done:
            raise LinesError(f"{self.path} already has a result of {' '.join(key_of(line))}")
        self._write(line)
        self.done.add(key_of(line))

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: object) -> None:
        with errors_of(self.path):
            self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        with errors_of(self.path):
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def _cut_half_written(self) -> None:
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)


def read_results(paths: Sequence[Path]) -> Results:
    """The results in one or more files. Raises LinesError where they are not comparable or two are of one key."""
    run: dict[str, Any] | None = None
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in paths:
        first, *others = _parsed(path)
        if "run" not in first:
            raise LinesError(f"the first line of {path} does not say what its results are of")
        if run is not None:
            check_same(run, first["run"], f"{paths[0]} and {path}", OPTIONAL)
        run = first["run"] | {name: known for name, known in (run or {}).items() if known is not None}
        for line in others:
            if key_of(line) in lines:
                raise LinesError(f"there are two results of {' '.join(key_of(line))}")
            lines[key_of(line)] = line
    if run is None:
        raise LinesError("there are no results")
    check_lines(lines.values())
    return Results(run, [lines[key] for key in sorted(lines)])


def check_lines(lines: Iterable[dict[str, Any]]) -> None:
    """Raise LinesError where lines of one problem are of different statements or tests, or those of one policy of different
    settings of it.
    """
    data: dict[str, str] = {}
    settings: dict[str, str] = {}
    for line in lines:
        if data.setdefault(line["problem"], line["data"]) != line["data"]:
            raise LinesError(f"the results are not comparable: the statement or the tests of {line['problem']} have changed")
        told = line.get("settings", "")
        if settings.setdefault(line["policy"], told) != told:
            raise LinesError(f"the results are not comparable: what {line['policy']} means has changed (fitted anew?)")


def _parsed(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LinesError(f"{path} cannot be read: {error}") from error
    if not text:
        raise LinesError(f"{path} is empty")
    parsed = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], start=1):
        try:
            parsed.append(json.loads(line))
        except ValueError:
            raise LinesError(f"line {number} of {path} is not JSON") from None
        if not isinstance(parsed[-1], dict):
            raise LinesError(f"line {number} of {path} is not a JSON object")
    if not parsed:
        raise LinesError(f"{path} is empty")
    return parsed
