"""Commands in this process, and problems for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from guided_gen.cli import cli
from guided_gen.engine.errors import GuidedGenError

KILLS = int(os.environ.get("KILLS", "3"))
"""How often a command is killed that is to end as if it had not been."""


def invoke(*arguments: object) -> Result:
    """Run a command; any error but a user's own is raised."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit | GuidedGenError):
        raise result.exception
    return result


def succeed(*arguments: object) -> Result:
    result = invoke(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result


def refused(*arguments: object) -> str:
    """What is said of a command that makes no sense."""
    result = invoke(*arguments)
    assert isinstance(result.exception, GuidedGenError), result.output
    return str(result.exception)


def run_killed(kills: int, seconds: float, *arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The last of several processes of a command with --out, which were killed on the way (kills.py)."""
    script = Path(__file__).with_name("kills.py")
    words = [sys.executable, script, kills, seconds, 7, *arguments]
    told = [str(word) for word in words]
    return subprocess.run(told, env=os.environ | environment, capture_output=True, text=True, timeout=500)


def stored(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def untimed(line: dict[str, Any]) -> dict[str, Any]:
    """A line of results without what depends on the machine: seconds and memory."""
    timed = ("seconds", "scoring_seconds", "peak_memory_mb", "examples_seconds", "ranking_costs")
    return {name: untimed(part) if isinstance(part, dict) else part for name, part in line.items() if name not in timed}


def write_problems(path: Path, questions: list[str], difficulties: tuple[str, ...] = ("introductory",), **tests: Any) -> Path:
    """A file of problems that want f(x); the difficulties take turns. `tests`: inputs and outputs."""
    told = json.dumps({"fn_name": "f", **tests})
    rows = [
        {"problem_id": i, "question": question, "input_output": told, "difficulty": difficulties[i % len(difficulties)]}
        for i, question in enumerate(questions)
    ]
    path.write_text("".join(json.dumps(row | {"solutions": "", "starter_code": ""}) + "\n" for row in rows))
    return path
