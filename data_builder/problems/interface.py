"""What the starter code tells of the function to write: its name, its parameters and their types.

Examples are matched to it: a call may spell the name in another language's way (`minimumSteps` for `minimum_steps`), values stand
for the parameters by name or in order, and a value that a type hint excludes shows that something was read wrong.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .syntax import parse

MAX_HEADER = 2000  # characters of a signature
SEQUENCES = {"list", "List", "tuple", "Tuple", "Sequence", "Iterable", "Collection", "MutableSequence"}
SETS = {"set", "Set", "frozenset", "FrozenSet", "AbstractSet"}
MAPPINGS = {"dict", "Dict", "Mapping", "MutableMapping", "Counter", "DefaultDict", "defaultdict", "OrderedDict"}
SCALARS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,), "bytes": (bytes,)}


@dataclass(frozen=True)
class Parameter:
    """One parameter. `hint` is its annotation, None without one."""

    name: str
    hint: ast.expr | None = None
    required: bool = True


@dataclass(frozen=True)
class Interface:
    """The function to write. `variadic`: whether it takes any number of arguments (`*args`). `returns`: an annotation."""

    name: str
    parameters: tuple[Parameter, ...]
    variadic: bool = False
    returns: ast.expr | None = None

    def bound(self, values: Sequence[Any], named: Mapping[str, Any] | None = None) -> tuple[Any, ...] | None:
        """The arguments in order, `named` ones (by any spelling) after `values`; None where they do not fit the parameters."""
        arguments = list(values)
        rest = {plain(name): value for name, value in (named or {}).items()}
        for parameter in self.parameters[len(arguments) :]:
            if plain(parameter.name) not in rest:
                break
            arguments.append(rest.pop(plain(parameter.name)))
        required = sum(parameter.required for parameter in self.parameters)
        if rest or len(arguments) < required or (len(arguments) > len(self.parameters) and not self.variadic):
            return None
        hints = [parameter.hint for parameter in self.parameters]
        return tuple(arguments) if all(map(fits, hints, arguments)) else None

    def gives(self, value: Any) -> bool:
        """Whether the function may return `value`, by its hint."""
        return fits(self.returns, value)


def find_interface(code: str, name: str) -> Interface | None:
    """The interface of the function or method `name` that `code`, which may be text around a signature, defines."""
    header = header_of(code, name)
    return interface_of(header) if header else None


def interface_of(header: str) -> Interface | None:
    """The interface that a line `def name(...):` tells, None where it is no Python."""
    try:
        function = parse(f"{header}\n    pass").body[0]
    except (SyntaxError, ValueError):
        return None
    if not isinstance(function, ast.FunctionDef):
        return None
    listed = [*function.args.posonlyargs, *function.args.args]
    if listed and listed[0].arg == "self":
        del listed[0]
    first_default = len(listed) - len(function.args.defaults)
    parameters = [Parameter(one.arg, one.annotation, index < first_default) for index, one in enumerate(listed)]
    return Interface(function.name, tuple(parameters), function.args.vararg is not None, function.returns)


def header_of(code: str, name: str) -> str | None:
    """The text from `def name(` to its colon, None where there is none: a signature may go over several lines."""
    found = re.search(rf"\bdef[ \t]+{re.escape(name)}[ \t]*\(", code)
    if found is None:
        return None
    depth = 1
    for end in range(found.end(), min(len(code), found.end() + MAX_HEADER)):
        depth += (code[end] in "([{") - (code[end] in ")]}")
        if depth == 0:
            returns = re.match(r"[ \t]*->[^:\n]*", code[end + 1 :][:MAX_HEADER])
            return code[found.start() : end + 1] + (returns[0] if returns else "") + ":"
    return None


def same_name(one: str, other: str) -> bool:
    """Whether two names are one in the spelling of different languages: `minimum_steps`, `minimumSteps`, `MinimumSteps`."""
    return plain(one) == plain(other)


def plain(name: str) -> str:
    return re.sub(r"[_-]", "", name).lower()


def fits(hint: ast.expr | None, value: Any) -> bool:
    """Whether `value` may have the type of the annotation. No annotation excludes nothing.

    A class that is not built in excludes everything: its objects are not printed as literals (a LeetCode tree as `[1,null,2]`).
    """
    if hint is None or _name(hint) in ("Any", "object"):
        return True
    if isinstance(hint, ast.Constant):
        return _fits_text(hint.value, value)
    if isinstance(hint, ast.BinOp):
        return fits(hint.left, value) or fits(hint.right, value)
    name, inner = _name(hint), _inner(hint)
    if name in SCALARS:
        return isinstance(value, SCALARS[name]) and (name == "bool" or not isinstance(value, bool))
    if name == "Optional":
        return value is None or all(fits(one, value) for one in inner)
    if name == "Union":
        return any(fits(one, value) for one in inner)
    if name in ("tuple", "Tuple") and len(inner) > 1 and not _is_ellipsis(inner[1]):
        return isinstance(value, list | tuple) and len(value) == len(inner) and all(map(fits, inner, value))
    if name in SEQUENCES | SETS:
        kinds: Any = set if name in SETS else list | tuple
        return isinstance(value, kinds) and all(fits(inner[0], item) for item in value if inner)
    if name in MAPPINGS:
        return isinstance(value, dict) and (
            len(inner) < 2 or all(fits(inner[0], k) and fits(inner[1], v) for k, v in value.items())
        )
    return name in ("Callable", "Number", "T") and not isinstance(value, str)


def _fits_text(annotation: object, value: Any) -> bool:
    if not isinstance(annotation, str):
        return annotation is None and value is None
    try:
        [expression] = parse(annotation).body
    except (SyntaxError, ValueError):
        return True
    return isinstance(expression, ast.Expr) and fits(expression.value, value)


def _name(hint: ast.expr) -> str:
    """The last name of `List`, `typing.List`, `List[int]`."""
    outer = hint.value if isinstance(hint, ast.Subscript) else hint
    return outer.attr if isinstance(outer, ast.Attribute) else outer.id if isinstance(outer, ast.Name) else ""


def _inner(hint: ast.expr) -> list[ast.expr]:
    if not isinstance(hint, ast.Subscript):
        return []
    return hint.slice.elts if isinstance(hint.slice, ast.Tuple) else [hint.slice]


def _is_ellipsis(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...
