"""Inputs that a generator writes by itself: calls of the asked function with literal arguments, such as `print(f([2, 7]))`.

Answers often end with one. What the model expects of such a call is worth little at this size, and is not read.
"""

from __future__ import annotations

import ast
from typing import Any

from .asserts import literal
from .syntax import parse

MOST_CHARACTERS = 20_000


def written_calls(program: str, entry_point: str) -> list[tuple[Any, ...]]:
    """The arguments of each call of `entry_point`, or of a method of that name, whose arguments are literals and have no names.

    Without repetitions, in the order of the program; none where it is no Python or too long to be an answer.
    """
    if len(program) > MOST_CHARACTERS:
        return []
    try:
        nodes = list(ast.walk(parse(program)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    calls = [node for node in nodes if isinstance(node, ast.Call) and _name(node.func) == entry_point and not node.keywords]
    found: dict[str, tuple[Any, ...]] = {}
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        try:
            args = tuple(literal(argument) for argument in call.args)
            found.setdefault(repr(args), args)
        except (ValueError, TypeError, RecursionError, MemoryError):
            continue
    return list(found.values())


def _name(function: ast.expr) -> str | None:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else None
