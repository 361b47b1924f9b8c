"""Token trees in Parquet files, one a row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .files import replaced_atomically
from .tree import NODE_COLUMNS, ROLLOUT_COLUMNS, Tree, TreeError

SCHEMA = pa.schema(
    [("prompt_length", pa.int32()), ("prompt_hash", pa.string()), ("metadata", pa.string())]
    + [(f"nodes.{name}", pa.list_(pa.from_numpy_dtype(dtype))) for name, dtype in NODE_COLUMNS.items()]
    + [(f"rollouts.{name}", pa.list_(pa.from_numpy_dtype(dtype))) for name, dtype in ROLLOUT_COLUMNS.items()]
    + [("rollouts.verdict", pa.list_(pa.string()))]
)


_FLOATS = [name for name, dtype in NODE_COLUMNS.items() if np.dtype(dtype).kind == "f"]
PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": False,
    # The first bytes of numbers that are alike pack well, the last ones do not; a parent is mostly the node before.
    "column_encoding": {f"nodes.{name}.list.element": "BYTE_STREAM_SPLIT" for name in _FLOATS}
    | {"nodes.parent.list.element": "DELTA_BINARY_PACKED"},
}
"""How files of trees are written; the level of compression is the writer's choice."""


def save_trees(trees: Iterable[Tree], path: str | Path) -> None:
    """Write trees to a Parquet file of `SCHEMA`, one a row, by way of a temporary name."""
    table = pa.Table.from_pylist([tree.to_row() for tree in trees], schema=SCHEMA)
    with replaced_atomically(Path(path)) as temporary:
        pq.write_table(table, temporary, compression_level=9, **PARQUET)


def load_trees(path: str | Path, rows: Sequence[tuple[str, str, str]] | None = None) -> list[Tree]:
    """Read the trees of a Parquet file of `SCHEMA`, or those in `rows` that pass pyarrow's filters, such as
    [("problem", "==", "x")]. Raises TreeError."""
    return [Tree.from_row(row) for row in read_table(path, rows=rows).to_pylist()]


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, rows: Sequence[tuple[str, str, str]] | None = None
) -> pa.Table:
    """A file of trees as a table: all columns that it has, or those named. Raises TreeError where it is none."""
    try:
        return pq.read_table(path, columns=columns, filters=rows, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise TreeError(f"{path} cannot be read as a file of token trees: {error}") from error
