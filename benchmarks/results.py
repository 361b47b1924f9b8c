"""What a run stores: results as JSON lines, and its searches' trees.

The first line says what the others are results of: model, prompt, sampling, judge, data, value model, schedule, by names and
hashes. Each further one is of a problem and an arm. A line is on disk, whole, once `add` returns; what a killed process left
half-written is cut off by the next one, which goes on from there. Lines of several files, or of several commands in one file,
stand together only if what their first lines name agrees. A file that is done may be compressed by gzip.

A tree is a file of its own while its run goes on, and a row of the run's one Parquet file once it is done.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..data_builder.build_settings import statement_hash
from ..data_builder.judge.verdict import ProgramLimits
from ..data_builder.problems.problem import Problem
from ..engine.errors import DataError
from ..engine.files import errors_of, replaced_atomically, write_atomically
from ..engine.parquet_digest import parquet_bytes
from ..engine.tree import Tree, load_trees
from ..engine.tree_files import PARQUET, SCHEMA, read_table
from ..valuemodel.made_for import value_sha256

REPLAYS, SEARCHES, JUDGED = "replay.jsonl", "searches.jsonl", "judged.jsonl"
TREES, ALL_TREES, VALUES = "trees", "trees.parquet", "values"
KEY = ("problem", "policy", "n", "scorer")
"""What a line is of. `scorer` is the one that guided the policy."""
NAMES = ("model", "value")
"""What a run calls things, told for the reader: their hashes are compared."""
OPTIONAL = ("value_sha256",)
"""Files whose runs differ in these are comparable where one of the runs has none."""
_MOST_BYTES = 1 << 30
JUDGE_RULES = 2
"""Of reading a program in an answer and of comparing outcomes; one more with each change of what they give."""
SHARED = ("model", "model_sha256", "precision", "template", "template_hash", "sampling", "max_new_tokens")
"""Of the settings of a dataset, those that decide what its rollouts are drawn from."""


@dataclass(frozen=True)
class Results:
    """`run`: the first line. `lines`: the others, in the order of their keys."""

    run: dict[str, Any]
    lines: list[dict[str, Any]]


def key_of(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(line.get(name, "")) for name in KEY)


def check_same(one: dict[str, Any], other: dict[str, Any], where: str, but_for: Sequence[str] = ()) -> None:
    """Raise DataError where two runs differ; where either has none of `but_for`, that is no difference."""
    for name in sorted((one.keys() | other.keys()) - set(NAMES)):
        a, b = one.get(name), other.get(name)
        if a != b and not (name in but_for and None in (a, b)):
            raise DataError(f"{where} are not comparable: {name} is {a!r} in one and {b!r} in the other")


class LineFile:
    """Results that are added to, by one process at a time. Use as a context manager. `done`: the keys of what is there."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Open `path`, new or of the same run. Raises DataError where it is of another or in use."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.run = path, run
        if (packed := _stored(path)) != path:
            write_atomically(path, _text(packed))
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise DataError(f"another process is writing {path}") from None
        self._cut_half_written()
        if path.stat().st_size:
            found = read_results([path])
            check_same(found.run, run, f"the results in {path} and this run")
            self.done = {key_of(line) for line in found.lines}
        else:
            self._write({"run": run})
            self.done = set()

    def add(self, line: dict[str, Any]) -> None:
        """Store a line. Raises DataError where there is one of its key."""
        if key_of(line) in self.done:
            raise DataError(f"{self.path} already has a result of {' '.join(key_of(line))}")
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
    """The results in one or more files. Raises DataError where they are not comparable or two are of one key."""
    run: dict[str, Any] | None = None
    lines: dict[tuple[str, ...], dict[str, Any]] = {}
    for path in paths:
        first, *others = _parsed(path)
        if not isinstance(first.get("run"), dict):
            raise DataError(f"the first line of {path} does not say what its results are of")
        if run is not None:
            check_same(run, first["run"], f"{paths[0]} and {path}", OPTIONAL)
        run = first["run"] | {name: known for name, known in (run or {}).items() if known is not None}
        for line in others:
            if not all(isinstance(line.get(name), str) for name in ("problem", "policy", "data")):
                raise DataError(f"a line of {path} does not say which problem and which policy it is of")
            if key_of(line) in lines:
                raise DataError(f"there are two results of {' '.join(key_of(line))}")
            lines[key_of(line)] = line
    if run is None:
        raise DataError("there are no results")
    check_lines(lines.values())
    return Results(run, [lines[key] for key in sorted(lines)])


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of one file. Raises DataError where it holds none."""
    lines = read_results([path]).lines
    if not lines:
        raise DataError(f"{path} holds no results")
    return lines


def check_lines(lines: Iterable[dict[str, Any]]) -> None:
    """Raise DataError where lines of one problem are of different statements or tests, or those of one policy of different
    settings of it.
    """
    data: dict[str, str] = {}
    settings: dict[str, str] = {}
    for line in lines:
        if data.setdefault(line["problem"], line["data"]) != line["data"]:
            raise DataError(f"the results are not comparable: the statement or the tests of {line['problem']} have changed")
        told = line.get("settings", "")
        if settings.setdefault(line["policy"], told) != told:
            raise DataError(f"the results are not comparable: what {line['policy']} means has changed (fitted anew?)")


def lines_in(path: Path, *names: str) -> Path:
    """A file itself, or the one of `names` that a folder of results holds. Raises DataError where it holds none, or several."""
    if path.is_file():
        return path
    found = [stored for name in names if (stored := _stored(path / name)).is_file()]
    if len(found) > 1:
        raise DataError(f"{path} holds both {' and '.join(names)}; name the file to report on")
    if not found:
        hint = "; bench judge makes judged.jsonl of a run's searches" if JUDGED in names else ""
        raise DataError(f"{path} holds no {' and no '.join(names)}{hint}")
    return found[0]


def _stored(path: Path) -> Path:
    """The file of that name, or the compressed one where there is only that."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.is_file() else path


def _text(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise DataError(f"{path} holds more than {_MOST_BYTES} bytes")
        return content.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _parsed(path: Path) -> list[dict[str, Any]]:
    text = _text(path)
    if not text:
        raise DataError(f"{path} is empty")
    parsed = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].split("\n")[:-1], start=1):
        try:
            parsed.append(json.loads(line))
        except (ValueError, RecursionError):
            raise DataError(f"line {number} of {path} is not JSON") from None
        if not isinstance(parsed[-1], dict):
            raise DataError(f"line {number} of {path} is not a JSON object")
    if not parsed:
        raise DataError(f"{path} is empty")
    return parsed


# -- trees


class RunTrees:
    """The trees of the searches in a run's folder, by the name of the search: `TREES`/name, or a row of `ALL_TREES`."""

    SCHEMA = pa.schema([("search", pa.string()), ("problem", pa.string()), *SCHEMA])

    def __init__(self, folder: Path) -> None:
        self._loose, self._all = folder / TREES, folder / ALL_TREES

    def add(self, search: str, tree: Tree) -> None:
        """Store a tree, in a file of its own."""
        tree.save(self._loose / search)

    def load(self, search: str, problem: str) -> Tree:
        """Raises DataError where there is none."""
        loose = self._loose / search
        if loose.is_file() or not self._all.is_file():
            return Tree.load(loose)
        found = load_trees(self._all, [("problem", "==", problem), ("search", "==", search)])
        if not found:
            raise DataError(f"{self._all} holds no tree of {search}")
        return found[0]

    def fold(self) -> None:
        """Put all trees into the one file, a row group a problem. A killed process loses none: a tree's own file goes last."""
        files = {str(path.relative_to(self._loose)): path for path in sorted(self._loose.rglob("*.parquet"))}
        if not files:
            return
        parts = [self._row(search, path) for search, path in files.items()]
        if self._all.is_file():
            before = read_table(self._all)
            parts += [before.slice(i, 1) for i, search in enumerate(before["search"].to_pylist()) if search not in files]
        parts.sort(key=lambda part: (part["problem"][0].as_py(), part["search"][0].as_py()))
        groups = groupby(parts, key=lambda part: part["problem"][0].as_py())
        tables = (pa.concat_tables(list(group)) for _, group in groups)
        with replaced_atomically(self._all) as temporary:
            temporary.write_bytes(parquet_bytes(tables, self.SCHEMA, compression_level=19, **PARQUET))
        shutil.rmtree(self._loose)

    def _row(self, search: str, path: Path) -> pa.Table:
        table = read_table(path)
        problem = json.loads(table["metadata"][0].as_py())["problem"]
        about = {"search": [search], "problem": [problem]}
        return pa.table({**about, **{name: table[name] for name in SCHEMA.names}}, schema=self.SCHEMA)


# -- what results are of


def value_identity(folder: Path | None) -> dict[str, Any]:
    """Name and hash of a value model. Raises ValueModelError."""
    if folder is None:
        return {"value": None, "value_sha256": None}
    return {"value": folder.name, "value_sha256": value_sha256(folder)}


def pool_identity(settings: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    """Of a dataset with these settings, to which `tree` belongs. Its judge is known by its isolation."""
    return {name: settings[name] for name in (*SHARED, "problems", "split")} | {"judge": tree.metadata["isolation"]}


def judge_identity(isolation: str) -> str:
    """The level of isolation, the version of the rules that read and compare answers, and a hash of the limits."""
    limits = repr(sorted(asdict(ProgramLimits()).items())).encode()
    return f"{isolation}, rules {JUDGE_RULES}, limits {hashlib.sha256(limits).hexdigest()[:12]}"


def problem_data(problem: Problem) -> str:
    """A hash of the problem: what the prompt shows, and the tests."""
    tests = hashlib.sha256(repr(problem.tests).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{statement_hash(problem)[:16]}-{tests[:16]}"


def pool_data(tree: Tree) -> str:
    """What a stored tree knows of its problem: the statement's hash and the number of tests."""
    return f"{tree.metadata['statement_hash'][:16]}-{tree.metadata['tests']}"
