"""How large the house is: `python .ci/numbers.py [CHECKOUT...]` prints a table with a column for each checkout."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOMS = ("engine", "valuemodel", "data_builder", "benchmarks", "guided_gen")
APART = {"studies", "speed", "attacks"}  # no product code


def numbers(checkout: Path) -> Counter[str]:
    """Product code is the rooms' Python, without studies, timings and the attacks on the judge."""
    tracked = subprocess.check_output(["git", "-C", str(checkout), "ls-files", "-z"], text=True).split("\0")[:-1]
    found = Counter({"tracked files": len(tracked), "tracked bytes": sum((checkout / name).stat().st_size for name in tracked)})
    bases: dict[str, list[str]] = {}
    for path in (checkout / name for name in tracked if name.endswith(".py")):
        place = path.relative_to(checkout)
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if place.parts[0] not in ROOMS or APART & set(place.parts):
            found["lines of tests" if place.parts[0] == "tests" else "lines of studies and examples"] += lines
            continue
        found["files of product code"] += 1
        found["lines of product code"] += lines
        found[f"lines in {place.parts[0]}"] += lines
        found["longest file, in lines"] = max(found["longest file, in lines"], lines)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                found["classes"] += 1
                bases[node.name] = [ast.unparse(base).split(".")[-1] for base in node.bases]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                found["longest function, in lines"] = max(found["longest function, in lines"], length)
    found["kinds of errors"] = sum(is_error(name, bases) for name in bases)
    return found


def is_error(name: str, bases: dict[str, list[str]]) -> bool:
    """Whether a class of ours is an exception: by the names of what it is derived from."""
    above = bases.get(name)
    if above is None:
        return name.endswith(("Error", "Exception", "Interrupt"))
    return any(is_error(base, bases) for base in above)


def main() -> None:
    checkouts = [Path(argument) for argument in sys.argv[1:]] or [Path(__file__).parents[1]]
    columns = [numbers(checkout) for checkout in checkouts]
    width = max(map(len, columns[-1]))
    for name in sorted(columns[-1]):
        print(name.ljust(width), *(f"{column[name]:>12,}" for column in columns))


if __name__ == "__main__":
    main()
