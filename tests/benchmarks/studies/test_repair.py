"""The study of repairs: what it decodes, what it counts, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guided_gen import Solved
from guided_gen.benchmarks.studies import repair

from ...guided_gen.commands import write_problems
from ...guided_gen.made_up_rollouts import write_rollouts
from ...guided_gen.made_up_solutions import candidate, solution

QUESTION = "Write a function f(x) that doubles a number.\n\nf(2) == 4\n"


@pytest.fixture(scope="module")
def told(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The study's arguments."""
    folder = tmp_path_factory.mktemp("repair")
    problems = write_problems(folder / "problems.jsonl", [QUESTION] * 2, inputs=[[1], [2], [3]], outputs=[2, 4, 6])
    write_rollouts(folder / "pool", tiny_folder, problems, samples=16, most=60)
    model = ("--model", tiny_folder, "--precision", "float32", "--problems", problems, "--draws", 1, "--repairs", 2)
    return (str(folder / "pool"), *map(str, model))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_each_failing_search_is_repaired_once_at_about_the_tokens_of_the_others(told: tuple[str, ...], tmp_path: Path) -> None:
    out = tmp_path / "repair.jsonl"
    result = CliRunner().invoke(repair.main, [*told, "--out", str(out)], catch_exceptions=False)
    assert "2 problems, 2 searches; in 2 of them the best program fails" in result.output
    first, second = lines(out)
    assert first["failing"] and first["answers"]["repair"] == 2 and 1 <= first["answers"]["more"] <= 8
    assert second["tokens"]["repair"] > 0
    before = out.read_text()
    again = CliRunner().invoke(repair.main, [*told, "--out", str(out)], catch_exceptions=False)
    assert out.read_text() == before and again.output == result.output


def test_a_repair_counts_as_correct_if_it_passes_the_hidden_tests(
    told: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = candidate("def f(x):\n    return 2 * x", examples=(1, 1))
    monkeypatch.setattr(repair, "repairing", lambda *_: [Solved(solution(right))])
    result = CliRunner().invoke(repair.main, [*told, "--out", str(tmp_path / "repair.jsonl")], catch_exceptions=False)
    for line in lines(tmp_path / "repair.jsonl"):
        assert line["repair"] is True and line["correct"]["repair"] == 1
    assert "| repair | 1.000" in result.output
