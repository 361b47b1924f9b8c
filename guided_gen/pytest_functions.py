"""Test functions as pytest has them, as code that calls them: once, or once for each row of `@pytest.mark.parametrize`."""

from __future__ import annotations

import ast
import copy
import itertools
import math
from typing import Any

from .engine.errors import SettingsError

MOST_ROWS = 1000

Row = dict[str, Any]


def called(function: ast.FunctionDef) -> list[str]:
    """The function's definition without its decorators and a call of it, for each row of its parameters.

    Raises SettingsError for what only pytest can do: fixtures, and rows that are not literals.
    """
    tables = [_rows(one, function.name) for one in function.decorator_list if _is_parametrize(one)]
    if math.prod(map(len, tables)) > MOST_ROWS:
        raise SettingsError(f"{function.name} has more than {MOST_ROWS} rows of parameters")
    rows: list[Row] = [{name: value for row in rows for name, value in row.items()} for rows in itertools.product(*tables)]
    needed = {one.arg for one in function.args.args[: len(function.args.args) - len(function.args.defaults)]}
    if missing := needed - {name for row in rows for name in row}:
        raise SettingsError(f"{function.name} takes {', '.join(sorted(missing))}, which only pytest can give it")
    bare = copy.copy(function)
    bare.decorator_list = []
    definition = ast.unparse(bare)
    return [f"{definition}\n{function.name}({', '.join(f'{name}={value!r}' for name, value in row.items())})" for row in rows]


def _is_parametrize(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr == "parametrize"


def _rows(decorator: ast.expr, function: str) -> list[Row]:
    """`("a, b", [(1, 2), (3, 4)])` as [{"a": 1, "b": 2}, {"a": 3, "b": 4}]."""
    assert isinstance(decorator, ast.Call)
    try:
        names, values = (ast.literal_eval(argument) for argument in decorator.args[:2])
        listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        return [dict(zip(listed, value if len(listed) > 1 else [value], strict=True)) for value in values]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise SettingsError(f"the parameters of {function} are not literals, which only pytest can read") from None
