"""Slightly wrong versions of a correct program, to measure whether tests, and the judge that runs them, notice."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Callable, Iterator

from ...data_builder.problems.syntax import parse

KINDS = ("off by one", "swapped branch", "constant")


def mutants(program: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(kind, program) with one change each, at most one of each kind: at a place drawn by `rng` from all that there are.

    off by one: an integer is one more, or a comparison includes its bound. swapped branch: a condition is negated.
    constant: a returned expression is 0 instead. Some mutants are equivalent to the original: what is caught has no 100%.
    """
    tree = parse(program)
    for kind in KINDS:
        places = [index for index, node in enumerate(ast.walk(tree)) if _CHANGES[kind](copy.deepcopy(node))]
        if places:
            changed = copy.deepcopy(tree)
            _CHANGES[kind](list(ast.walk(changed))[rng.choice(places)])
            yield kind, ast.unparse(ast.fix_missing_locations(changed))


def _off_by_one(node: ast.AST) -> bool:
    bounds: dict[type, type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
    if isinstance(node, ast.Compare) and type(node.ops[0]) in bounds:
        node.ops[0] = bounds[type(node.ops[0])]()
        return True
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
        return True
    return False


def _swapped_branch(node: ast.AST) -> bool:
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def _constant(node: ast.AST) -> bool:
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        node.value = ast.Constant(0)
        return True
    return False


_CHANGES: dict[str, Callable[[ast.AST], bool]] = {
    "off by one": _off_by_one,
    "swapped branch": _swapped_branch,
    "constant": _constant,
}
