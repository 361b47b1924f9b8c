"""Token trees in Parquet files, one a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .errors import DataError
from .files import replaced_atomically
from .parquet_digest import check_digest, parquet_bytes
from .table import NODE_COLUMNS, ROLLOUT_COLUMNS

SCHEMA = pa.schema(
    [("prompt_length", pa.int32()), ("prompt_hash", pa.string()), ("metadata", pa.string())]
    + [(f"nodes.{name}", pa.list_(pa.from_numpy_dtype(dtype))) for name, dtype in NODE_COLUMNS.items()]
    + [(f"rollouts.{name}", pa.list_(pa.from_numpy_dtype(dtype))) for name, dtype in ROLLOUT_COLUMNS.items()]
    + [("rollouts.verdict", pa.list_(pa.string()))]
)

_BEFORE, _OPTIONAL = "nodes.value", "nodes.reader_logprob"
_FLOATS = [name for name, dtype in NODE_COLUMNS.items() if np.dtype(dtype).kind == "f"]
PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": False,
    "write_page_checksum": True,
    # The first bytes of numbers that are alike pack well, the last ones do not; a parent is mostly the node before.
    "column_encoding": {f"nodes.{name}.list.element": "BYTE_STREAM_SPLIT" for name in _FLOATS}
    | {"nodes.parent.list.element": "DELTA_BINARY_PACKED"},
}
"""How files of trees are written; the level of compression is the writer's choice."""


def save_rows(rows: Iterable[Mapping[str, Any]], path: str | Path) -> None:
    """Write `Tree.to_row` of some trees to a Parquet file of `SCHEMA`, by way of a temporary name."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    with replaced_atomically(Path(path)) as temporary:
        temporary.write_bytes(parquet_bytes([table], SCHEMA, compression_level=9, **PARQUET))


def read_table(
    path: str | Path, columns: Sequence[str] | None = None, rows: Sequence[tuple[str, str, str]] | None = None
) -> pa.Table:
    """A file of trees as a table: all columns that it has, or those named. Raises DataError where it is none.

    What no reader read, as in files of before there were readers, is null.
    """
    try:
        if rows is None:
            check_digest(path)
        else:
            _check_once(path, Path(path).stat().st_mtime_ns)
        table = pq.read_table(path, columns=columns, filters=rows, partitioning=None, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a column's name is no UTF-8
        raise DataError(f"{path} cannot be read as a file of token trees: {error}") from error
    if columns is None and _OPTIONAL not in table.column_names and _BEFORE in table.column_names:
        missing = pa.nulls(len(table), SCHEMA.field(_OPTIONAL).type)
        table = table.add_column(table.column_names.index(_BEFORE) + 1, _OPTIONAL, missing)
    return table


@lru_cache
def _check_once(path: str | Path, changed_ns: int) -> None:
    """For files that are read a few rows at a time, many times: `check_digest`, again when the file has changed."""
    check_digest(path)
