"""The study of what reading costs: the same tokens are decoded however often they are read."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from guided_gen.benchmarks.studies import reading_cost
from guided_gen.benchmarks.studies.reading_cost import ALONE, AT_THE_END, CHECKS

from ...guided_gen.commands import write_problems

QUESTION = "Write a function f(x) that doubles a number.\n\nf(2) == 4\n"


def test_reading_changes_no_token_and_every_search_is_made_once(tiny_folder: Path, tmp_path: Path) -> None:
    problems = write_problems(tmp_path / "problems.jsonl", [QUESTION] * 2, inputs=[[1], [2], [3]], outputs=[2, 4, 6])
    out = tmp_path / "cost.jsonl"
    models = ["--model", str(tiny_folder), "--reader", str(tiny_folder)]
    arguments = [*models, "--problems", str(problems), "--split", "", "--n", "2", "--n", "3", "--max-new-tokens", "20"]
    result = CliRunner().invoke(reading_cost.main, [*arguments, "--out", str(out)], catch_exceptions=False)
    lines = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    assert [line["policy"] for line in lines[:4]] == [ALONE, AT_THE_END, *CHECKS] and len(lines) == 16
    tokens = {(line["problem"], line["n"]): line["tokens"] for line in lines}
    assert all(line["tokens"] == tokens[line["problem"], line["n"]] for line in lines)
    assert "2 problems" in result.output
    assert [row.split("|")[2].split()[1] for row in result.output.splitlines()[-2:]] == ["(1.00)"] * 2
    before = out.read_text()
    again = CliRunner().invoke(reading_cost.main, [*arguments, "--out", str(out)], catch_exceptions=False)
    assert out.read_text() == before and again.output == result.output
