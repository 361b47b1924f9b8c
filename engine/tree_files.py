"""Token trees in Parquet files, one a row."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

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


def save_trees(trees: Iterable[Tree], path: str | Path) -> None:
    """Write trees to a Parquet file of `SCHEMA`, one a row, by way of a temporary name."""
    table = pa.Table.from_pylist([tree.to_row() for tree in trees], schema=SCHEMA)
    with replaced_atomically(Path(path)) as temporary:
        pq.write_table(table, temporary, compression="zstd", compression_level=9, use_dictionary=False)


def load_trees(path: str | Path) -> list[Tree]:
    """Read all trees of a Parquet file of `SCHEMA`."""
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise TreeError(f"{path} cannot be read as a file of token trees: {error}") from error
    return [Tree.from_row(row) for row in rows]
