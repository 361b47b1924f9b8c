"""Parsing Python that others wrote."""

from __future__ import annotations

import ast
import warnings


def parse(code: str) -> ast.Module:
    """The syntax tree of `code`, without warnings about what it contains. Raises SyntaxError, and ValueError for null bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)


def parses(code: str) -> bool:
    """Whether there is a program, and it is valid Python."""
    try:
        return bool(code.strip()) and bool(parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
