"""aider as it is, against a server of the default model: it changes both files of a small repository and commits.

aider pins older libraries than the others, so `make test-agents` installs it into an environment of its own; AIDER is the
command there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from guided_gen.engine.search import SearchSettings
from guided_gen.generator import GuidedGenerator
from guided_gen.server.limits import ServerLimits

from ..serving import serving

AIDER = os.environ.get("AIDER")
SHAPES = '"""Areas of shapes."""\n\n\ndef rectangle_area(width, height):\n    return width * height\n'
MAIN = "from shapes import rectangle_area\n\nprint(rectangle_area(3, 4))\n"
ASKED = (
    "Add a function rectangle_perimeter(width, height) to shapes.py. "
    "In main.py, import it too and print rectangle_perimeter(3, 4) after the area."
)
QUIET = ("--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-pretty", "--no-gitignore")


def run(*command: str | Path, folder: Path, environment: dict[str, str] | None = None) -> str:
    options: dict[str, Any] = {"cwd": folder, "env": environment, "stdin": subprocess.DEVNULL, "timeout": 500}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.model
@pytest.mark.skipif(AIDER is None, reason="needs aider: make test-agents")
def test_aider_changes_a_repository_of_two_files(tmp_path: Path) -> None:
    home, repository = tmp_path / "home", tmp_path / "repository"
    home.mkdir()
    repository.mkdir()
    (repository / "shapes.py").write_text(SHAPES)
    (repository / "main.py").write_text(MAIN)
    named = ("-c", "user.name=A Person", "-c", "user.email=person@example.com")
    for command in (("init", "-q"), ("add", "."), (*named, "commit", "-q", "-m", "Areas")):
        run("git", *command, folder=repository)
    environment = os.environ | {"HOME": str(home), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    generator = GuidedGenerator.from_pretrained()
    with serving(generator, limits=ServerLimits(), settings=SearchSettings(n=2, max_new_tokens=600)) as server:
        model = ("--model", "openai/guided-gen", "--openai-api-base", f"{server.url}/v1", "--openai-api-key", "none")
        files = ("--edit-format", "whole", "--message", ASKED, "shapes.py", "main.py")
        assert AIDER is not None
        told = run(Path(AIDER).absolute(), *model, *QUIET, *files, folder=repository, environment=environment)
    assert run("git", "status", "--porcelain", "--untracked-files=no", folder=repository) == "", told
    assert len(run("git", "log", "--format=%h", folder=repository).split()) == 2, told
    assert run(sys.executable, "main.py", folder=repository).split() == ["12", "14"], told
