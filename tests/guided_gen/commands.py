"""Commands in this process, and problems for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from guided_gen.cli import cli
from guided_gen.engine.errors import GuidedGenError


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


def stored(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_problems(path: Path, questions: list[str], difficulties: tuple[str, ...] = ("introductory",), **tests: Any) -> Path:
    """A file of problems that want f(x); the difficulties take turns. `tests`: inputs and outputs."""
    told = json.dumps({"fn_name": "f", **tests})
    rows = [
        {"problem_id": i, "question": question, "input_output": told, "difficulty": difficulties[i % len(difficulties)]}
        for i, question in enumerate(questions)
    ]
    path.write_text("".join(json.dumps(row | {"solutions": "", "starter_code": ""}) + "\n" for row in rows))
    return path
