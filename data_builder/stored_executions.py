"""Executions on public inputs, stored beside the rollouts that they are of: `executions.parquet` in a dataset's folder.

A row a problem; its R programs are the distinct ones among the independent rollouts. No output is stored, only which outcomes are
the same. So rankings by examples and agreement replay without decoding and without running anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..engine.errors import DataError
from ..engine.files import replaced_atomically
from ..engine.parquet_digest import check_digest, parquet_bytes
from ..engine.progress import stage
from ..engine.tree import Tree
from .dataset import ProblemTexts, parts, read_trees
from .judge.executions import PublicRuns, table
from .judge.isolation import choose_isolation
from .judge.verdict import Isolation
from .problems.extraction import extract_program
from .problems.syntax import parses
from .public_inputs import PublicInputs, public_inputs

NAME = "executions.parquet"
SCHEMA = pa.schema(
    [
        ("problem", pa.string()),
        ("key", pa.string()),  # of the inputs and programs
        ("examples", pa.int32()),
        ("rollouts", pa.list_(pa.int32())),  # rows of the tree's rollouts
        ("counts", pa.list_(pa.int32())),  # how often each was drawn independently
        ("parses", pa.list_(pa.bool_())),
        ("passed", pa.list_(pa.int32())),  # examples met
        ("classes", pa.list_(pa.int16())),  # row by row
        ("results", pa.list_(pa.bool_())),
        ("writers", pa.list_(pa.bool_())),
    ]
)
_SAVED_EVERY = 20


@dataclass(frozen=True)
class StoredExecutions:
    """Of one problem's R programs on I public inputs, the first `examples` of which are the statement's examples.

    rollouts, counts [R]: rows of the tree's rollouts, and how often each was drawn from the prompt; parses [R] bool; passed [R]:
    examples met; classes, results [R, I] as `judge.executions.table`; writers [R, I] as `public_inputs`.
    """

    problem: str
    key: str
    examples: int
    rollouts: np.ndarray
    counts: np.ndarray
    parses: np.ndarray
    passed: np.ndarray
    classes: np.ndarray
    results: np.ndarray
    writers: np.ndarray


def store_executions(folder: Path, texts: ProblemTexts, tokenizer: Any, workers: int = 2) -> int:
    """Run the independent rollouts of all trees in `folder`; those whose inputs and programs are stored are not run again.

    Goes on where a killed run stopped. Returns the number of problems that were run.
    """
    path, isolation = folder / NAME, choose_isolation("auto")
    known = {one.problem: one for one in _read(path)} if path.exists() else {}
    kept: list[StoredExecutions] = []
    new = 0
    trees = list(read_trees([folder]))
    progress = stage(f"Running the rollouts of {len(trees)} problems", total=float(len(trees)))
    with ThreadPoolExecutor(workers, thread_name_prefix="executions") as threads, progress as advance:
        for i, tree in enumerate(trees):
            job = _Job.of(tree, texts, tokenizer)
            stored = known.pop(job.problem, None)
            if stored is None or stored.key != job.key:
                stored, new = job.run(threads, isolation), new + 1
                if new % _SAVED_EVERY == 0:
                    _write(path, [*kept, stored, *known.values()])
            kept.append(stored)
            advance(i + 1)
    if new or known:
        _write(path, kept)
    return new


def read_executions(folder: Path) -> dict[str, StoredExecutions]:
    """By problem. Raises DataError where there are none."""
    path = folder / NAME
    if not path.exists():
        raise DataError(f"{folder} holds no executions on public inputs; guided-gen dataset execute makes them")
    return {one.problem: one for one in _read(path)}


@dataclass(frozen=True)
class _Job:
    problem: str
    entry_point: str | None
    inputs: PublicInputs
    writers: np.ndarray
    rollouts: np.ndarray
    counts: np.ndarray
    programs: list[str]

    @classmethod
    def of(cls, tree: Tree, texts: ProblemTexts, tokenizer: Any) -> _Job:
        counts = independent_counts(tree)
        rows = np.flatnonzero(counts)
        leaves = tree.rollouts.leaf[rows].tolist()
        programs = [extract_program(tokenizer.decode(tree.tokens(leaf), skip_special_tokens=True)) for leaf in leaves]
        problem = texts.problem(tree)
        inputs, writers = public_inputs(problem, programs, counts[rows].tolist())
        return cls(problem.id, problem.entry_point, inputs, writers, rows, counts[rows], programs)

    @property
    def key(self) -> str:
        told = repr((self.entry_point, self.inputs, self.programs, self.rollouts.tolist()))
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def run(self, threads: ThreadPoolExecutor, isolation: Isolation) -> StoredExecutions:
        distinct = list(dict.fromkeys(self.programs))
        with PublicRuns(self.entry_point, self.inputs.examples, isolation) as runs:
            runs.add(self.inputs.made)
            ran = dict(zip(distinct, threads.map(runs.run, distinct), strict=True))
        executions = [ran[program] for program in self.programs]
        classes, results = table(executions)
        return StoredExecutions(
            problem=self.problem,
            key=self.key,
            examples=len(self.inputs.examples),
            rollouts=self.rollouts,
            counts=self.counts,
            parses=np.asarray([parses(program) for program in self.programs], bool),
            passed=np.asarray([execution.passed for execution in executions]),
            classes=classes,
            results=results,
            writers=self.writers,
        )


def independent_counts(tree: Tree) -> np.ndarray:
    """How often each rollout was drawn from the prompt, without a fork: [rollouts]."""
    counts = np.zeros(len(tree.rollouts), np.int64)
    for part in parts(tree):
        if part.kind != "branch":
            counts[part.row] += part.multiplicity
    return counts


def _read(path: Path) -> Iterator[StoredExecutions]:
    try:
        check_digest(path)
        rows = pq.read_table(path, partitioning=None, schema=SCHEMA, page_checksum_verification=True).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for row in rows:
        shape = (len(row["rollouts"]), -1) if row["classes"] else (len(row["rollouts"]), 0)
        columns = {name: np.asarray(row[name]) for name in ("rollouts", "counts", "passed")}
        columns["parses"] = np.asarray(row["parses"], bool)
        columns["classes"] = np.asarray(row["classes"], np.int64).reshape(shape)
        columns |= {name: np.asarray(row[name], bool).reshape(shape) for name in ("results", "writers")}
        yield StoredExecutions(row["problem"], row["key"], row["examples"], **columns)


def _write(path: Path, stored: Sequence[StoredExecutions]) -> None:
    rows = [
        {name: value.ravel().tolist() if isinstance(value, np.ndarray) else value for name, value in vars(one).items()}
        for one in stored
    ]
    with replaced_atomically(path) as temporary:
        tables = [pa.Table.from_pylist(rows, schema=SCHEMA)]
        temporary.write_bytes(parquet_bytes(tables, SCHEMA, compression="zstd", write_page_checksum=True))
