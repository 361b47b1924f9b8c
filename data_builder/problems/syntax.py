"""Parsing Python that others wrote."""

from __future__ import annotations

import ast
import warnings


def parse(code: str) -> ast.Module:
    """The syntax tree of `code`, without warnings about what it contains. Raises SyntaxError, and ValueError for null bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code)
