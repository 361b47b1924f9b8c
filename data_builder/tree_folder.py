"""A dataset on disk: trees in Parquet files, what they have in common in settings.json, and a card.

    settings.json                  model, prompt, sampling, ...: equal for all trees, whatever part of the problems a run builds
    trees/<shard>-<number>.parquet at most 4 MB each; each has a tree of `engine.tree_files.SCHEMA` a row
    skipped/<shard>.json           problem ids that got no tree, with the reason
    README.md                      the card, written when a run ends

A tree is on disk once `add` returns: the newest file is rewritten, under a temporary name, with each tree that it gets. So a
killed run loses the problems in flight and nothing else, and a file is never half-written. Folders with equal settings.json are
joined by copying their files together.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from ..engine.errors import DataError
from ..engine.files import replaced_atomically, write_atomically
from ..engine.parquet_digest import parquet_bytes
from ..engine.tree import Tree
from ..engine.tree_files import PARQUET, SCHEMA, read_table
from .build_settings import Shard
from .builder import Skipped
from .dataset_card import dataset_card
from .problems.problem import Problem

MOST_BYTES = 4_000_000


class TreeFolder:
    """A folder that trees are added to, by one process a shard. Use as a context manager."""

    def __init__(self, path: Path, settings: dict[str, Any], shard: Shard | None = None, most_bytes: int = MOST_BYTES) -> None:
        """Open `path`, new or made with the same `settings`. Raises DataError where it holds something else or is in use."""
        self.path, self.settings = path, settings
        self._name = str(shard or Shard()).replace("/", "-of-")
        self._most_bytes = most_bytes
        (path / "trees").mkdir(parents=True, exist_ok=True)
        self._lock = _locked(path / f".{self._name}.lock")
        for leftover in (path / "trees").glob(f".{self._name}-*.tmp"):  # of a killed run
            leftover.unlink()
        self._pin(settings)
        self.present = set(problem_ids(path))
        self._skipped = _read_json(self._skipped_path) if self._skipped_path.exists() else {}
        files = sorted((path / "trees").glob(f"{self._name}-*.parquet"))
        self._number = len(files)
        self._table = SCHEMA.empty_table()
        if files and files[-1].stat().st_size < most_bytes:
            self._number -= 1
            self._table = read_table(files[-1])

    def missing(self, problems: Sequence[Problem]) -> list[Problem]:
        """Those of `problems` that have no tree yet."""
        return [problem for problem in problems if problem.id not in self.present]

    def add(self, result: Tree | Skipped) -> None:
        """Store a tree, or that there is none. Raises DataError for a problem that has one."""
        if isinstance(result, Skipped):
            self._skipped[result.problem_id] = result.reason
            return
        problem = result.metadata["problem"]
        if problem in self.present:
            raise DataError(f"{self.path} already has a tree of {problem}")
        row = pa.Table.from_pylist([result.to_row()], schema=SCHEMA)
        if not self._write(pa.concat_tables([self._table, row])):
            self._number += 1
            self._table = SCHEMA.empty_table()
            self._write(row)
        self.present.add(problem)

    def close(self) -> None:
        """Write what was skipped and the card, and let others use the folder."""
        if self._lock.closed:
            return
        skipped = {problem: reason for problem, reason in self._skipped.items() if problem not in self.present}
        if skipped:
            write_atomically(self._skipped_path, json.dumps(skipped, indent=1, sort_keys=True) + "\n")
        else:
            self._skipped_path.unlink(missing_ok=True)
        summaries = read_summaries(self.path)
        built = {summary["problem"] for summary in summaries}
        write_atomically(self.path / "README.md", dataset_card(self.settings, summaries, read_skipped(self.path, built)))
        self._lock.close()

    def __enter__(self) -> TreeFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _skipped_path(self) -> Path:
        return self.path / "skipped" / f"{self._name}.json"

    def _pin(self, settings: dict[str, Any]) -> None:
        """Write settings.json, or compare with the one that is there. Two processes that begin at once write the same."""
        path = self.path / "settings.json"
        if not path.exists():
            if any((self.path / "trees").iterdir()):
                raise DataError(f"{self.path} has trees but no settings.json that says how they were made")
            write_atomically(path, json.dumps(settings, indent=1, sort_keys=True) + "\n")
        pinned = read_settings(self.path)
        differing = sorted(name for name in pinned.keys() | settings.keys() if pinned.get(name) != settings.get(name))
        if differing:
            name = differing[0]
            raise DataError(
                f"{self.path} was built with other settings ({', '.join(differing)}): "
                f"{name} is {pinned.get(name)!r} there and {settings.get(name)!r} now"
            )

    def _write(self, table: pa.Table) -> bool:
        """Write `table` as the newest file; not where that would be too large for more than one tree."""
        path = self.path / "trees" / f"{self._name}-{self._number:05d}.parquet"
        content = parquet_bytes([table], SCHEMA, compression_level=3, **PARQUET)
        if len(content) > self._most_bytes and len(table) > 1:
            return False
        with replaced_atomically(path) as temporary:
            temporary.write_bytes(content)
        self._table = table
        return True


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that the folder's trees have in common. Raises DataError where the folder is no dataset."""
    path = folder / "settings.json"
    if not path.is_file():
        raise DataError(f"{folder} is no dataset of guided-gen: it has no settings.json")
    return _read_json(path)


def tree_files(folder: Path) -> list[Path]:
    return sorted((folder / "trees").glob("*.parquet"))


def read_summaries(folder: Path) -> list[dict[str, Any]]:
    """For each tree its metadata, with "rollouts" and "correct" counted and "nodes" left out of memory."""
    summaries = []
    for path in tree_files(folder):
        rows = read_table(path, ["metadata", "rollouts.multiplicity", "rollouts.verdict"]).to_pylist()
        for row in rows:
            counts = row["rollouts.multiplicity"]
            correct = sum(count for count, verdict in zip(counts, row["rollouts.verdict"], strict=True) if verdict == "passed")
            summaries.append(json.loads(row["metadata"]) | {"rollouts": sum(counts), "correct": correct})
    return summaries


def problem_ids(folder: Path) -> list[str]:
    """Ids of the problems that have a tree, in the order of the files. Raises DataError where one has two."""
    texts = [text for path in tree_files(folder) for text in read_table(path, ["metadata"])["metadata"].to_pylist()]
    ids = [json.loads(text)["problem"] for text in texts]
    if len(set(ids)) < len(ids):
        twice = next(problem for problem in ids if ids.count(problem) > 1)
        raise DataError(f"{folder} has more than one tree of {twice}")
    return ids


def read_skipped(folder: Path, built: Collection[str]) -> dict[str, str]:
    """Why problems got no tree, by id, all shards together; but for those `built` meanwhile, perhaps by another shard."""
    skipped: dict[str, str] = {}
    for path in sorted((folder / "skipped").glob("*.json")):
        skipped |= _read_json(path)
    return {problem: reason for problem, reason in skipped.items() if problem not in built}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return content


def _locked(path: Path) -> IO[str]:
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DataError(f"another process is building this shard of {path.parent}") from None
    return lock
