"""The study of pass@1 against seconds: it times every number of candidates of the report, goes on, and draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from guided_gen.benchmarks.studies import solve_curve
from guided_gen.engine.errors import DataError

from ...guided_gen.commands import write_problems

QUESTION = "Write a function f(x) that doubles a number.\n\nf(2) == 4\n"


def adaptive_report(path: Path) -> Path:
    arms = [
        {"policy": "best-of-n", "n": n, "most": most, "enough": enough, "pass@1": {"value": n / 10, "low": 0.0, "high": 0.5}}
        for n, most, enough in ((1, 1, None), (2, 2, None), (2, 4, 0.9))
    ]
    path.write_text(json.dumps({"arms": arms}))
    return path


def test_each_number_of_candidates_is_timed_once_and_drawn(tiny_folder: Path, tmp_path: Path) -> None:
    problems = write_problems(tmp_path / "problems.jsonl", [QUESTION] * 2, inputs=[[1], [2], [3]], outputs=[2, 4, 6])
    told = f"{tiny_folder}={adaptive_report(tmp_path / 'adaptive.json')}"
    out = tmp_path / "curve"
    arguments = [told, "--problems", str(problems), "--split", "", "--max-new-tokens", "8", "--out", str(out)]
    result = CliRunner().invoke(solve_curve.main, arguments, catch_exceptions=False)
    lines = [json.loads(line) for line in (out / f"{tiny_folder.name}.jsonl").read_text().splitlines()[1:]]
    assert sorted(line["n"] for line in lines) == [1, 1, 2, 2]
    assert "| 2 | 20.0% [0%, 50%] |" in result.output
    assert result.output == (out / "curve.md").read_text()
    assert tiny_folder.name in (out / solve_curve.CURVE).read_text()
    again = CliRunner().invoke(solve_curve.main, [*arguments, "--report-only"], catch_exceptions=False)
    assert again.output == result.output


def test_what_is_no_report_is_said(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"arms": [{"n": 1}]}')
    with pytest.raises(DataError, match="no report of guided-gen bench adaptive"):
        solve_curve.replayed(tmp_path / "other.json")
