"""`guided-gen adapt` on a tiny random model: killed on the way it ends as if it had not been, and solve finds what it made."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from guided_gen.adapt_plan import Plan
from guided_gen.cli import cli
from guided_gen.cli.adapt_steps import Done, run_steps
from guided_gen.cli.recipe import Step
from guided_gen.data_builder.dataset import read_trees
from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.errors import DataError
from guided_gen.known_values import known_value
from guided_gen.valuemodel.made_for import PARTS

from .commands import KILLS, invoke, refused, run_killed, succeed, write_problems

SECONDS = 3.0
PRECISION = "int8" if cpu_supported() else "float32"


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    questions = [f"Add one, {'very ' * i}fast.\n\nf(1) == 2\n" for i in range(24)]
    return write_problems(path, questions, inputs=[[1], [2], [3]], outputs=[2, 3, 4])


@pytest.fixture(scope="module")
def command(tiny_folder: Path, problems_file: Path) -> list[str]:
    asked = ["adapt", tiny_folder, "--problems", problems_file, "--precision", PRECISION, "--max-new-tokens", 12, "--hours", 0.2]
    return [str(word) for word in asked]


def adapted(out: Path, command: list[str], kills: int, *more: str) -> subprocess.CompletedProcess[str]:
    cache = str(out.parent / f"{out.name}-cache")
    return run_killed(kills, SECONDS, *command, "--out", out, *more, environment={"GUIDED_GEN_CACHE": cache})


def numbers(nested: Any) -> list[float]:
    """All numbers of plain JSON, in order."""
    if isinstance(nested, dict):
        return [number for value in nested.values() for number in numbers(value)]
    return [float(nested)] if isinstance(nested, int | float) else []


@pytest.mark.kills
def test_killed_on_the_way_it_ends_with_the_same_model_which_solve_then_uses(
    command: list[str], tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    planned = adapted(killed, command, 0, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    whole.mkdir()
    for path in (killed / "plan.json", *killed.glob("*.txt")):
        shutil.copyfile(path, whole / path.name)
    ended = [adapted(out, command, kills, "--install-anyway") for out, kills in ((whole, 0), (killed, KILLS))]
    assert [one.returncode for one in ended] == [0, 0], ended[1].stderr
    assert json.loads((killed / "done.json").read_text())["starts"] > json.loads((whole / "done.json").read_text())["starts"]
    trees = [
        {
            tree.metadata["problem"]: tree.nodes.token_id.tolist()
            for part in (out / "data").iterdir()
            for tree in read_trees([part])
        }
        for out in (whole, killed)
    ]
    assert trees[0] == trees[1]
    for name in PARTS:
        assert (whole / "value" / name).exists() == (killed / "value" / name).exists()
    for name in ("model.safetensors", "statement.safetensors"):
        weights = [load_file(out / "value" / name) for out in (whole, killed)]
        torch.testing.assert_close(*weights, rtol=0, atol=0)
    fitted = [json.loads((out / "value" / "evidence.json").read_text()) for out in (whole, killed)]
    assert numbers(fitted[0]["columns"]) == pytest.approx(numbers(fitted[1]["columns"]), rel=0.01, abs=1e-3)
    figures = [json.loads((out / "evaluation" / "evaluation.json").read_text())["ranking"] for out in (whole, killed)]
    assert numbers(figures[0]) == pytest.approx(numbers(figures[1]), abs=0.02)
    assert "The estimate was" in ended[0].stdout and "Installed: " in ended[0].stdout
    assert "## Results\n\nMeasured by" in (whole / "value" / "README.md").read_text()

    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "whole-cache"))
    installed = known_value(str(tiny_folder), PRECISION)
    assert installed is not None
    solved = succeed("solve", "Write f(x) that adds three.", "--model", tiny_folder, "--precision", PRECISION, "--json", "--n", 2)
    assert f"Values: {installed.name}" in solved.stderr
    assert all(0 < candidate["values"][-1] < 1 for candidate in json.loads(solved.stdout)["candidates"])
    again = invoke(*command, "--out", whole, "--install-anyway")  # nothing is left to do
    assert again.exit_code == 0
    assert "[1/8]" not in again.stderr
    assert "planned with seed 0, not 1" in refused(*command, "--out", whole, "--seed", 1)


def test_what_cannot_be_adapted_is_one_sentence(command: list[str], tmp_path: Path, problems_file: Path) -> None:
    assert "There is no file or folder" in refused("adapt", "nowhere/model.gguf", "--out", tmp_path)
    assert "belongs to --backend vllm" in refused(*command, "--vllm", "max_num_seqs=1", "--out", tmp_path)
    assert "does not exist" in refused(*command, "--problems", tmp_path / "none.jsonl", "--out", tmp_path)


def test_a_step_that_has_too_little_data_is_named_with_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DataError("evidence is fitted to problems with correct and wrong answers")

    monkeypatch.setattr(cli, "main", refuse)
    plan = Plan({}, {}, {}, {"fitting evidence": 1.0}, 0.0)
    step = Step(("bench", "fit-evidence"), {})
    with pytest.raises(DataError, match=r"^fitting evidence: evidence is fitted to .* wrong answers; more --hours"):
        run_steps({"fitting evidence": step}, plan, Done(tmp_path, {}, 0), tmp_path)
