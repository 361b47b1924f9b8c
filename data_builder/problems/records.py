"""Reading JSON lines, gzipped or not, with errors that name the file and the line."""

from __future__ import annotations

import gzip
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...engine.errors import DataError

Record = dict[str, Any]
MOST_DIGITS = 200_000
"""Of an integer: as many as the judge compares."""


def read_json_lines(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield ("<file>, line <n>", record) for every line that is not blank. Raises `DataError` at the first malformed one."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                record = parse_json(line, where)
                if not isinstance(record, dict):
                    raise DataError(f"{where}: expected a JSON object, found {type(record).__name__}.")
                yield where, record
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def parse_json(text: str, where: str) -> Any:
    """Parse JSON that may hold integers of up to `MOST_DIGITS`. Raises `DataError` naming `where`."""
    try:
        with long_integers():
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}).") from error


@contextmanager
def long_integers() -> Iterator[None]:
    """Raise Python's limit of 4,300 digits for converting integers: APPS has tests with longer ones.

    The limit is the process's, so it is raised only around a single parse and put back.
    """
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(MOST_DIGITS)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)


def text_field(record: Record, name: str, where: str, default: str | None = None) -> str:
    """The string `record[name]`; `default` where it is missing or null. Raises `DataError` for another type."""
    value = record.get(name)
    if value is None:
        value = default
    if not isinstance(value, str):
        found = "missing" if value is None else type(value).__name__
        raise DataError(f"{where}: field '{name}' must be a string, but is {found}.")
    return value
