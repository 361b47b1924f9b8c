"""The token tree: every rollout below one prompt, shared prefixes stored once.

Two tables. `nodes` has one row a token; a node's parent comes before it; the root, -1, is the prompt itself, which is named by
its length and hash and never stored. Equal tokens below one parent are one node. `rollouts` has one row a distinct rollout.
A tree is one row of a Parquet file (tree_files.py), so a saved search and a row of a dataset are the same thing.

What it does not do: it holds no text, no model and no KV cache; caches mirror it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GuidedGenError

ROOT = -1


class Ended(IntEnum):
    """Why a rollout got no further token. LIVE ones may still grow."""

    LIVE = 0
    EOS = 1
    LENGTH = 2
    STOPPED = 3
    PRUNED = 4


NODE_COLUMNS = {
    "token_id": np.int32,
    "parent": np.int32,
    "logprob": np.float32,  # of the token, under the model at temperature 1
    "sample_logprob": np.float32,  # of the token, after temperature, top-k and top-p
    "value": np.float32,  # probability that the answer ends up correct; NaN where not scored
    "entropy": np.float16,  # nats, of the distribution that the token was drawn from, at temperature 1
    "margin": np.float16,  # probability of its most likely token less that of the second
    "certainty": np.float16,  # self-certainty: KL divergence of that distribution from the uniform one, nats
}
ROLLOUT_COLUMNS = {
    "leaf": np.int32,
    "fork": np.int32,  # the node below which its own tokens begin; ROOT for an independent rollout
    "multiplicity": np.int32,
    "ended": np.int8,
    "seed": np.int64,  # the number of its stream of random draws (see randomness.py)
}


class Table:
    """Growable columns of equal length, each a NumPy array; `table.name` is a view of the rows in use."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._dtypes = columns
        self._size = 0
        self._data = {name: np.empty(64, dtype) for name, dtype in columns.items()}

    def __len__(self) -> int:
        return self._size

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._data[name][: self._size]
        except KeyError:
            raise AttributeError(name) from None

    def append(self, **row: Any) -> int:
        """Add a row (each column a scalar) and return its index."""
        if self._size == len(next(iter(self._data.values()))):
            self._data = {name: np.concatenate([column, np.empty_like(column)]) for name, column in self._data.items()}
        for name, value in row.items():
            self._data[name][self._size] = value
        self._size += 1
        return self._size - 1

    def columns(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self._dtypes}

    @classmethod
    def from_columns(cls, dtypes: dict[str, Any], columns: dict[str, np.ndarray]) -> Table:
        table = cls(dtypes)
        table._data = {name: np.array(columns[name], dtype) for name, dtype in dtypes.items()}
        table._size = len(next(iter(table._data.values())))
        if not table._size:
            return cls(dtypes)
        return table


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
            unset = {"logprob": np.nan, "sample_logprob": np.nan, "value": np.nan}
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
        """One row of `tree_files.SCHEMA`. NaN is stored as null, so that rows compare equal."""
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
        row["rollouts.verdict"] = list(self.verdicts)
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Tree:
        """Rebuild a tree from a row of `tree_files.SCHEMA`. Raises TreeError where the row is no tree."""
        try:
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
            raise TreeError(f"this row is not a token tree: {error}") from error
        tree._check_and_index()
        return tree

    def _check_and_index(self) -> None:
        size = len(self.nodes)
        parent, leaf, fork = self.nodes.parent, self.rollouts.leaf, self.rollouts.fork
        if np.any(parent < ROOT) or np.any(parent >= np.arange(size)):
            raise TreeError("a node's parent does not come before it")
        if np.any((leaf < ROOT) | (leaf >= size) | (fork < ROOT) | (fork >= size)):
            raise TreeError("a rollout names a node that is not there")
        if len(self.verdicts) != len(self.rollouts):
            raise TreeError("there are not as many verdicts as rollouts")
        for node, (up, token) in enumerate(zip(parent.tolist(), self.nodes.token_id.tolist(), strict=True)):
            if (up, token) in self._child:
                raise TreeError("two nodes below one parent hold the same token")
            self._index(node, up, token)
        ended = self.rollouts.ended.tolist()
        for i, key in enumerate(zip(leaf.tolist(), fork.tolist(), ended, strict=True)):
            self._rollout_of[key] = i

    def save(self, path: str | Path) -> None:
        """Write this tree alone to a Parquet file, by way of a temporary name."""
        from .tree_files import save_trees  # here, since decoding needs no Parquet

        save_trees([self], path)

    @classmethod
    def load(cls, path: str | Path) -> Tree:
        """Read a file with exactly one tree. Raises TreeError where the file holds anything else."""
        from .tree_files import load_trees

        trees = load_trees(path)
        if len(trees) != 1:
            raise TreeError(f"{path} holds {len(trees)} trees, not one")
        return trees[0]


class TreeError(GuidedGenError):
    """A file or row that is not a token tree."""
