"""The architecture, read from the imports: rooms import only what lies below them, and no two files import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine", "valuemodel", "data_builder", "benchmarks", "guided_gen")
# From the bottom up; a room may import itself and what stands before it, but for what FORBIDDEN says.
ROOMS = (
    "engine",
    "engine.models",
    "engine.cpu",
    "engine.torch_backend",
    "engine.vllm_backend",
    "engine.openai_backend",
    "engine.loading",
    "data_builder.problems",
    "data_builder.judge",
    "data_builder",
    "valuemodel",
    "benchmarks",
    "guided_gen",
    "guided_gen.server",
    "guided_gen.cli",
    "benchmarks.studies",
    "benchmarks.speed",
)
FORBIDDEN = {
    ("valuemodel", "data_builder"): "value models know no problems",
    ("engine.vllm_backend", "engine.torch_backend"): "a backend knows no other",
    ("engine.openai_backend", "engine.torch_backend"): "a backend knows no other",
    ("guided_gen.server", "benchmarks"): "the server measures nothing",
}
# Sampling uses the kernels where there are any; loading joins the rooms of the engine; __main__ is the command line.
ROOM_OF_MODULE = {
    "engine.cpu.kernels": "engine",
    "engine.models.loading": "engine.loading",
    "guided_gen.__main__": "guided_gen.cli",
}
WITHOUT_TORCH = ("engine.tree", "engine.policies", "engine.tree_policies", "engine.scorers", "engine.search")


def test_no_room_imports_one_that_lies_above_it() -> None:
    wrong = [
        f"{module} imports {imported}"
        for module, names in sorted(imports().items())
        for imported in names
        if ROOMS.index(room(imported)) > ROOMS.index(room(module))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(("above", "below"), FORBIDDEN)
def test_rooms_that_know_nothing_of_each_other(above: str, below: str) -> None:
    wrong = [
        f"{module} imports {imported}, but {FORBIDDEN[above, below]}"
        for module, names in sorted(imports().items())
        for imported in names
        if within(module, above) and within(imported, below)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_files_import_each_other() -> None:
    circles = [names for names in components(imports()) if len(names) > 1]
    assert not circles, "\n".join(", ".join(sorted(names)) for names in circles)


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_the_search_core_names_no_torch(module: str) -> None:
    tree = ast.parse(files()[module].read_text())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "torch" not in {name.split(".")[0] for name in named}


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def room(module: str) -> str:
    if module in ROOM_OF_MODULE:
        return ROOM_OF_MODULE[module]
    return max((name for name in ROOMS if within(module, name)), key=len)


@cache
def files() -> dict[str, Path]:
    """Every product file, by its module's name below guided_gen (the front door's own modules keep that name)."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports() -> dict[str, tuple[str, ...]]:
    """What each module imports of ours, at its top or within its functions, except what only types need."""
    return {module: tuple(sorted(set(imported_by(module, path)) - {module})) for module, path in files().items()}


def imported_by(module: str, path: Path) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    installed = f"guided_gen.{package}".removeprefix("guided_gen.guided_gen.").split(".")
    if package == "guided_gen" or package.startswith("guided_gen."):
        installed = package.split(".")
    for node in statements(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        above = installed[: len(installed) - node.level + 1] if node.level else []
        base = ".".join([*above, *(node.module.split(".") if node.module else [])])
        for alias in node.names:
            for name in (f"{base}.{alias.name}", base):
                known = name.removeprefix("guided_gen.") if name.removeprefix("guided_gen.") in files() else name
                if known in files():
                    yield known
                    break


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        waiting.extend(ast.iter_child_nodes(node))


def components(graph: dict[str, tuple[str, ...]]) -> list[set[str]]:
    """The strongly connected components: files of which each leads to each other."""
    reached = {module: reachable(graph, module) for module in graph}
    found: list[set[str]] = []
    for module in graph:
        if not any(module in names for names in found):
            found.append({module} | {other for other in reached[module] if module in reached[other]})
    return found


def reachable(graph: dict[str, tuple[str, ...]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in graph[waiting.pop()]:
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    return seen
