"""Parquet files with a digest of themselves. The checksums of pages guard numbers; where they lie and what they mean, the digest.

The digest is an entry of the file's own metadata: the SHA-256 of the file with zeros in the digest's place. Files of before there
was one have no such entry and are read as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY, _MARK = "guided_gen.digest", b"sha256 of this file with zeros here: "
_ZEROS = b"0" * 64


def parquet_bytes(tables: Iterable[pa.Table], schema: pa.Schema, **options: Any) -> bytes:
    """A file with its digest, each of `tables` a row group or more; `options` are those of `pyarrow.parquet.write_table`."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema, **options) as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({_KEY: (_MARK + _ZEROS).decode()})
    content = sink.getvalue().to_pybytes()
    return content.replace(_MARK + _ZEROS, _MARK + hashlib.sha256(content).hexdigest().encode())


def check_digest(path: str | Path) -> None:
    """Raise ValueError where the file is another than was written, OSError where it cannot be read."""
    content = Path(path).read_bytes()
    at = content.rfind(_MARK) + len(_MARK)
    if at < len(_MARK):
        return
    digest = content[at : at + len(_ZEROS)]
    if hashlib.sha256(content[:at] + _ZEROS + content[at + len(_ZEROS) :]).hexdigest().encode() != digest:
        raise ValueError("its digest is another than when it was written")
