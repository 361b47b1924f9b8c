"""The token tree: every rollout below one prompt, shared prefixes stored once.

Two tables. `nodes` has one row a token; a node's parent comes before it; the root, -1, is the prompt itself, which is named by
its length and hash and never stored. Equal tokens below one parent are one node. `rollouts` has one row a distinct rollout.
A tree is one row of a Parquet file (tree_files.py), so a saved search and a row of a dataset are the same thing.

What it does not do: it holds no text, no model and no KV cache; caches mirror it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError
from .table import NODE_COLUMNS, ROLLOUT_COLUMNS, Table

ROOT = -1
READ = "nodes.reader_logprob"  # the column that a stored tree need not have


class Ended(IntEnum):
    """Why a rollout got no further token. LIVE ones may still grow."""

    LIVE = 0
    EOS = 1
    LENGTH = 2
    STOPPED = 3
    PRUNED = 4


def prompt_hash(prompt_ids: Sequence[int]) -> str:
    """SHA-256 of the prompt's token ids as little-endian 32-bit integers, in hexadecimal."""
    return hashlib.sha256(np.asarray(prompt_ids, "<i4").tobytes()).hexdigest()


class Tree:
    """A token tree below one prompt. `metadata` is a JSON-able dict (model, sampling settings, problem id, ...)."""

    def __init__(self, prompt_length: int, prompt_hash: str, metadata: dict[str, Any] | None = None) -> None:
        self.prompt_length = prompt_length
        self.prompt_hash = prompt_hash
        self.metadata = metadata or {}
        self.nodes = Table(NODE_COLUMNS)
        self.rollouts = Table(ROLLOUT_COLUMNS)
        self.verdicts: list[str | None] = []
        # Where sampling asks for them, below a node: the model's most likely tokens and their log-probabilities. Not saved.
        self.alternatives: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._child: dict[tuple[int, int], int] = {}
        self._depth: list[int] = []
        self._logprob_sum: list[float] = []
        self._rollout_of: dict[tuple[int, int, int], int] = {}

    @classmethod
    def below(cls, prompt_ids: Sequence[int], metadata: dict[str, Any] | None = None) -> Tree:
        return cls(len(prompt_ids), prompt_hash(prompt_ids), metadata)

    def __len__(self) -> int:
        return len(self.nodes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.to_row() == other.to_row()

    __hash__ = None  # type: ignore[assignment]

    # -- nodes

    def child(self, parent: int, token_id: int) -> int | None:
        return self._child.get((parent, token_id))

    def add_node(self, parent: int, token_id: int, **columns: float) -> int:
        """The child of `parent` with this token; made, with `columns`, if there is none yet."""
        key = (parent, token_id)
        node = self._child.get(key)
        if node is None:
            unset = {"logprob": np.nan, "sample_logprob": np.nan, "value": np.nan, "reader_logprob": np.nan}
            unset |= {"entropy": np.nan, "margin": np.nan, "certainty": np.nan}
            node = self.nodes.append(parent=parent, token_id=token_id, **(unset | columns))
            self._index(node, parent, token_id)
        return node

    def _index(self, node: int, parent: int, token_id: int) -> None:
        self._child[parent, token_id] = node
        self._depth.append(self.depth_of(parent) + 1)
        self._logprob_sum.append(self.logprob_sum_to(parent) + float(self.nodes.logprob[node]))

    def depth_of(self, node: int) -> int:
        """Generated tokens from the prompt to `node`, itself included; 0 for the root."""
        return 0 if node == ROOT else self._depth[node]

    def logprob_sum_to(self, node: int) -> float:
        """Sum of the model's log-probabilities from the first generated token to `node`."""
        return 0.0 if node == ROOT else self._logprob_sum[node]

    @property
    def depth(self) -> np.ndarray:
        """Depth of every node, shape [nodes]."""
        return np.asarray(self._depth, np.int32)

    @property
    def logprob_sum(self) -> np.ndarray:
        """`logprob_sum_to` every node, shape [nodes], float64."""
        return np.asarray(self._logprob_sum)

    def path(self, node: int) -> np.ndarray:
        """The nodes from the first generated token to `node`, shape [depth]."""
        path = np.empty(self.depth_of(node), np.int64)
        parent = self.nodes.parent
        for i in range(len(path) - 1, -1, -1):
            path[i] = node
            node = int(parent[node])
        return path

    def tokens(self, node: int) -> np.ndarray:
        """Token ids from the first generated token to `node`, shape [depth]."""
        return self.nodes.token_id[self.path(node)]

    def path_sums(self, column: np.ndarray) -> np.ndarray:
        """For every node the sum of `column` [nodes] along the path to it, shape [nodes], float64."""
        sums = np.asarray(column, np.float64).tolist()
        for node, parent in enumerate(self.nodes.parent.tolist()):
            if parent != ROOT:
                sums[node] += sums[parent]
        return np.asarray(sums)

    def path_means(self, column: np.ndarray) -> np.ndarray:
        """For every node the mean of `column` along the path to it, shape [nodes]."""
        return self.path_sums(column) / np.maximum(self.depth, 1)

    # -- rollouts

    def add_rollout(self, leaf: int, fork: int, ended: Ended, seed: int, multiplicity: int = 1) -> int:
        """Add a rollout, or raise the multiplicity of the one with the same leaf, fork and end. Returns its row."""
        key = (leaf, fork, int(ended))
        row = self._rollout_of.get(key)
        if row is None:
            row = self.rollouts.append(leaf=leaf, fork=fork, multiplicity=multiplicity, ended=ended, seed=seed)
            self.verdicts.append(None)
            self._rollout_of[key] = row
        else:
            self.rollouts.multiplicity[row] += multiplicity
            self.rollouts.seed[row] = min(self.rollouts.seed[row], seed)
        return row

    def prefix_at(self, leaf: int, depth: int) -> int:
        """The ancestor of `leaf` (itself included) at `depth`."""
        node = leaf
        for _ in range(self.depth_of(leaf) - depth):
            node = int(self.nodes.parent[node])
        return node

    # -- storage

    def to_row(self) -> dict[str, Any]:
        """One row of `tree_files.SCHEMA`. NaN is stored as null, so that rows compare equal; a column of nothing else is null."""
        row: dict[str, Any] = {
            "prompt_length": self.prompt_length,
            "prompt_hash": self.prompt_hash,
            "metadata": json.dumps(self.metadata, sort_keys=True),
        }
        for prefix, table in (("nodes", self.nodes), ("rollouts", self.rollouts)):
            for name, column in table.columns().items():
                values = column.tolist()
                if column.dtype.kind == "f":
                    values = [None if value != value else value for value in values]
                row[f"{prefix}.{name}"] = values
        if np.isnan(self.nodes.reader_logprob).all():
            row[READ] = None
        row["rollouts.verdict"] = list(self.verdicts)
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Tree:
        """Rebuild a tree from a row of `tree_files.SCHEMA`. Raises DataError where the row is no tree."""
        try:
            if row.get(READ) is None:
                row = row | {READ: [None] * len(row["nodes.token_id"])}
            tree = cls(row["prompt_length"], row["prompt_hash"], json.loads(row["metadata"]))
            nodes = {}
            for name, dtype in NODE_COLUMNS.items():
                values = row[f"nodes.{name}"]
                if np.dtype(dtype).kind == "f":
                    values = [np.nan if value is None else value for value in values]
                nodes[name] = np.asarray(values, dtype)
            tree.nodes = Table.from_columns(NODE_COLUMNS, nodes)
            rollouts = {name: np.asarray(row[f"rollouts.{name}"], dtype) for name, dtype in ROLLOUT_COLUMNS.items()}
            tree.rollouts = Table.from_columns(ROLLOUT_COLUMNS, rollouts)
            tree.verdicts = list(row["rollouts.verdict"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this row is not a token tree: {error}") from error
        tree._check_and_index()
        return tree

    def _check_and_index(self) -> None:
        size = len(self.nodes)
        parent, leaf, fork = self.nodes.parent, self.rollouts.leaf, self.rollouts.fork
        if np.any(parent < ROOT) or np.any(parent >= np.arange(size)):
            raise DataError("a node's parent does not come before it")
        if np.any((leaf < ROOT) | (leaf >= size) | (fork < ROOT) | (fork >= size)):
            raise DataError("a rollout names a node that is not there")
        if len(self.verdicts) != len(self.rollouts):
            raise DataError("there are not as many verdicts as rollouts")
        for node, (up, token) in enumerate(zip(parent.tolist(), self.nodes.token_id.tolist(), strict=True)):
            if (up, token) in self._child:
                raise DataError("two nodes below one parent hold the same token")
            self._index(node, up, token)
        ended = self.rollouts.ended.tolist()
        for i, key in enumerate(zip(leaf.tolist(), fork.tolist(), ended, strict=True)):
            self._rollout_of[key] = i

    def save(self, path: str | Path) -> None:
        """Write this tree alone to a Parquet file, by way of a temporary name."""
        save_trees([self], path)

    @classmethod
    def load(cls, path: str | Path) -> Tree:
        """Read a file with exactly one tree. Raises DataError where the file holds anything else."""
        trees = load_trees(path)
        if len(trees) != 1:
            raise DataError(f"{path} holds {len(trees)} trees, not one")
        return trees[0]


def save_trees(trees: Iterable[Tree], path: str | Path) -> None:
    """Write trees to a Parquet file of `tree_files.SCHEMA`, one a row, by way of a temporary name."""
    from .tree_files import save_rows  # here, since decoding needs no Parquet

    save_rows([tree.to_row() for tree in trees], path)


def load_trees(path: str | Path, rows: Sequence[tuple[str, str, str]] | None = None) -> list[Tree]:
    """Read the trees of a Parquet file of `tree_files.SCHEMA`, or those in `rows` that pass pyarrow's filters, such as
    [("problem", "==", "x")]. Raises DataError."""
    from .tree_files import read_table

    return [Tree.from_row(row) for row in read_table(path, rows=rows).to_pylist()]
