"""What public functions say of themselves: the shapes of the arrays that they take and give, and the errors that they raise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "valuemodel", "data_builder", "benchmarks", "guided_gen")
# Methods of an interface, which says once for all of them what they take and give.
INTERFACES = {
    "__call__",
    "advance",
    "advance_async",
    "attend",
    "forward",
    "keep",
    "logit",
    "logprobs",
    "open",
    "read",
    "read_async",
}
SHAPE = re.compile(r"\[[^\]]*\]|[Ss]calar|any shape")
RAISING = re.compile(r"[Rr]aise|[Rr]efuse|[Ee]rror")


def public_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Where each stands, itself, and all that is said of it: its own docstring and its class's."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT)
            if {"studies", "speed", "cli", "attacks"} & set(place.parts):
                continue
            yield from functions_in(ast.parse(path.read_text()).body, str(place), "")


def functions_in(
    body: list[ast.stmt], place: str, above: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions_in(node.body, f"{place}:{node.name}", ast.get_docstring(node) or "")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield f"{place}:{node.name}", node, (ast.get_docstring(node) or "") + above


def array_annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    arguments = [*function.args.args, *function.args.kwonlyargs]
    annotations = [*(argument.annotation for argument in arguments), function.returns]
    return [text for node in annotations if node and re.search(r"\b(ndarray|Tensor)\b", text := ast.unparse(node))]


def raised(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The errors of ours that the function's own body raises."""
    calls = [node.exc.func for node in ast.walk(function) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {ast.unparse(call).split(".")[-1] for call in calls} - {"AssertionError", "NotImplementedError", "StopIteration"}


def test_functions_of_arrays_give_their_shapes() -> None:
    silent = [
        place
        for place, function, said in public_functions()
        if function.name not in INTERFACES and array_annotations(function) and not SHAPE.search(said)
    ]
    assert not silent, "\n".join(silent)


def test_functions_say_what_they_raise() -> None:
    silent = [
        f"{place} raises {', '.join(sorted(raised(function)))}"
        for place, function, said in public_functions()
        if function.name not in INTERFACES and raised(function) and not RAISING.search(said)
    ]
    assert not silent, "\n".join(silent)
