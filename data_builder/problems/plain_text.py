"""A problem written in a text file: the file is the statement, the examples printed in it are its tests."""

from __future__ import annotations

import re
from pathlib import Path

from ...engine.errors import DataError
from .examples import Example, read_examples
from .interface import header_of
from .problem import Problem

SIGNATURE = re.compile(
    r"^(?:class[ \t]+Solution\b[^\n]*:[ \t]*\n(?:[ \t]*\n)*)?[ \t]*(?=def[ \t]+(?!test|setUp|tearDown)([A-Za-z_]\w*)[ \t]*\()",
    re.MULTILINE,
)


def read_problem(path: Path) -> Problem:
    """The file's statement as problem "file/<stem>". Raises `DataError` if it cannot be read or is empty."""
    try:
        statement = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if not statement.strip():
        raise DataError(f"{path} is empty.")
    return problem_from_statement(statement, f"file/{path.stem}")


def problem_from_statement(statement: str, problem_id: str) -> Problem:
    """A problem whose interface and tests are what its statement shows.

    A signature `def f(...):` is the starter code and names the entry point; else the examples do (`f(2) == 4`); without either
    the program reads standard input.
    """
    signature = SIGNATURE.search(statement)
    entry_point, examples = examples_in(statement)
    return Problem(
        id=problem_id,
        statement=statement,
        source="file",
        starter_code=_starter_code(statement, signature) if signature else "",
        entry_point=entry_point,
        tests=tuple(example.test for example in examples),
        tests_kind="example" if examples else "none",
    )


def examples_in(statement: str) -> tuple[str | None, tuple[Example, ...]]:
    """(entry point, examples) of the problem that `problem_from_statement` makes, with the lines that they stand in."""
    signature = SIGNATURE.search(statement)
    return read_examples(statement, signature[1] if signature else None)


def _starter_code(statement: str, signature: re.Match[str]) -> str:
    """The lines of the signature, which may be several, with `class Solution:` if it stands before."""
    header = header_of(statement[signature.end() :], signature[1]) or ""
    end = statement.find("\n", signature.end() + len(header.rstrip(":")))
    return statement[signature.start() : end if end >= 0 else len(statement)]
