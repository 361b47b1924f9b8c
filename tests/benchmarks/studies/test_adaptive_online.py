"""The study of searches that end once a candidate is likely enough: what it decodes and counts, and that it goes on."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from guided_gen.benchmarks.studies import adaptive_online
from guided_gen.benchmarks.studies.adaptive_online import ARMS, BEST_OF_16, UNRUN

from ...guided_gen.commands import write_problems

QUESTION = "Write a function f(x) that doubles a number.\n\nf(2) == 4\n"


def test_every_search_is_made_once_and_running_programs_changes_no_token(tiny_folder: Path, tmp_path: Path) -> None:
    problems = write_problems(tmp_path / "problems.jsonl", [QUESTION] * 2, inputs=[[1], [2], [3]], outputs=[2, 4, 6])
    out = tmp_path / "online.jsonl"
    told = ("--model", tiny_folder, "--precision", "float32", "--problems", problems, "--split", "", "--limit", 2, "--unrun", 1)
    arguments = [*map(str, told), "--max-new-tokens", "20", "--out", str(out)]
    result = CliRunner().invoke(adaptive_online.main, arguments, catch_exceptions=False)
    lines = [json.loads(line) for line in out.read_text().splitlines()[1:]]
    first, *others = ARMS
    assert [line["policy"] for line in lines] == [first, *others, UNRUN, *others, first]
    tokens = {(line["problem"], line["policy"]): line["tokens"] for line in lines}
    [unrun] = [line for line in lines if line["policy"] == UNRUN]
    assert unrun["tokens"] == tokens[unrun["problem"], BEST_OF_16]
    assert "2 problems" in result.output and "in 1 of which the tokens were as many" in result.output
    before = out.read_text()
    again = CliRunner().invoke(adaptive_online.main, arguments, catch_exceptions=False)
    assert out.read_text() == before and again.output == result.output

    few = [*arguments[:-1], str(tmp_path / "few.jsonl"), "--arm", "best of 8", "--unrun", "0"]
    result = CliRunner().invoke(adaptive_online.main, few, catch_exceptions=False)
    lines = [json.loads(line) for line in (tmp_path / "few.jsonl").read_text().splitlines()[1:]]
    assert [line["policy"] for line in lines] == ["best of 8", BEST_OF_16, BEST_OF_16, "best of 8"]
    assert "2 problems" in result.output
