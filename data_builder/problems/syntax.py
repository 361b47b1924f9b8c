"""Parsing Python that others wrote."""

from __future__ import annotations

import ast
import warnings


def parse(code: str) -> ast.Module:
    """The syntax tree of `code`, without warnings about what it contains. Raises SyntaxError, also for what nests too deep, and
    ValueError for null bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (RecursionError, MemoryError):
            raise SyntaxError("it nests too deep") from None


def parses(code: str) -> bool:
    """Whether there is a program, and it is valid Python."""
    try:
        return bool(code.strip()) and bool(parse(code))
    except (SyntaxError, ValueError):
        return False
