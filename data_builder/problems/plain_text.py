"""A problem written in a text file: the file is the statement, the examples printed in it are its tests."""

from __future__ import annotations

import re
from pathlib import Path

from .examples import call_examples, stdin_examples
from .problem import Problem
from .records import RecordError

SIGNATURE = re.compile(r"^(?:class\s+Solution\b.*:\s*\n(?:\s*\n)*)?[ \t]*def\s+([A-Za-z_]\w*)\s*\(.*$", re.MULTILINE)


def read_problem(path: Path) -> Problem:
    """The file's statement as problem "file/<stem>". Raises `RecordError` if it cannot be read or is empty."""
    try:
        statement = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path} cannot be read: {error}.") from error
    if not statement.strip():
        raise RecordError(f"{path} is empty.")
    return problem_from_statement(statement, f"file/{path.stem}")


def problem_from_statement(statement: str, problem_id: str) -> Problem:
    """A problem whose interface and tests are what its statement shows.

    A line `def f(...):` is the starter code and names the entry point; else the examples do (`f(2) == 4`); without either the
    program reads standard input.
    """
    signature = SIGNATURE.search(statement)
    entry_point, tests = call_examples(statement, signature[1] if signature else None)
    if signature:
        entry_point = signature[1]
    shown = tests if entry_point else stdin_examples(statement)
    return Problem(
        id=problem_id,
        statement=statement,
        source="file",
        starter_code=signature[0] if signature else "",
        entry_point=entry_point,
        tests=shown,
        tests_kind="example" if shown else "none",
    )
