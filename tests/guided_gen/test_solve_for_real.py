"""`guided-gen solve` on the real default model, as a new user runs it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.txt"))


@pytest.mark.model
def test_solving_an_example_prints_a_program() -> None:
    drought = next(path for path in EXAMPLES if path.stem == "drought")
    run = subprocess.run([sys.executable, "-m", "guided_gen", "solve", str(drought)], capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    functions = [node.name for node in ast.parse(run.stdout).body if isinstance(node, ast.FunctionDef)]
    assert "longest_dry_spell" in functions
    assert re.search(r"pass the \d+ examples", run.stderr), run.stderr
