"""`guided-gen solve`: what it takes, what it says of a program that fails, and how it ends."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guided_gen.cli import main
from guided_gen.cli.solve_report import COLUMNS, failed_example, summary
from guided_gen.data_builder.judge.verdict import FailedTest
from guided_gen.data_builder.problems.problem import AssertTest, Problem, StdinTest
from guided_gen.engine.openai_backend.pieces import PieceTokenizer
from guided_gen.engine.tree import Ended
from guided_gen.generator import GuidedGenerator

from .made_up_solutions import DOUBLE, WRONG, MadeUpGenerator, candidate, solution

GOOD = candidate("def double(x):\n    return 2 * x")
BAD = candidate("def double(x):\n    return x + 3", examples=(1, 2), failure=WRONG)


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> MadeUpGenerator:
    made = MadeUpGenerator(solution(GOOD))
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda *_, **__: made)
    return made


def solve(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["guided-gen", "solve", "--value", "none", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_program_that_fails_an_example_is_printed_and_stderr_ends_with_the_example(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert solve(monkeypatch, "Double it.") == 0
    assert capsys.readouterr().out == GOOD.program + "\n"
    generator.found = solution(BAD, GOOD)
    for quiet in ([], ["-q"]):
        assert solve(monkeypatch, "Double it.", *quiet) == 3
        told = capsys.readouterr()
        assert told.out == BAD.program + "\n"
        assert told.err.splitlines()[-4:] == [
            "The program passes 1 of 2 examples. It fails example 1:",
            "  call      double(2)",
            "  expected  4",
            "  got       5",
        ]
        assert (len(told.err.splitlines()) == 4) == bool(quiet)


def test_json_has_the_failure_of_each_candidate(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator.found = solution(BAD, GOOD)
    assert solve(monkeypatch, "Double it.", "--json", "-q") == 3
    bad, good = json.loads(capsys.readouterr().out)["candidates"]
    assert bad["failure"]["expected"] == "4" and bad["failure"]["got"] == "5" and good["failure"] is None


def test_the_program_goes_to_a_file_where_it_is_asked_for(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert solve(monkeypatch, "Double it.", "-o", str(tmp_path / "found.py"), "-q") == 0
    assert (tmp_path / "found.py").read_text() == GOOD.program + "\n"
    told = capsys.readouterr()
    assert told.out == told.err == ""


def test_a_search_goes_on_to_twice_its_candidates_and_another_server_is_asked_for_fewer(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ("--backend", "openai", "--base-url", "http://localhost:1/v1")
    generator.found = replace(generator.found, tokenizer=PieceTokenizer())
    for told, n, most in ((), 16, 32), (("-n", "5"), 5, 10), (server, 8, 16):
        assert solve(monkeypatch, "Double it.", "-q", *told) == 0
        assert (generator.asked[1].n, generator.asked[1].most) == (n, most)


def test_quiet_says_what_is_wrong_with_the_program_and_nothing_else(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator.found = solution(candidate("pass", examples=None, ended=Ended.LENGTH))
    assert solve(monkeypatch, "Double it.", "-q", "-n", "2", "--value", "auto", "--model", "qwen2.5-coder-1.5b") == 0
    assert capsys.readouterr().err == "the best answer is incomplete\n"
    assert generator.asked[1].n == 2


@pytest.mark.parametrize("statement", ["Double it.", "Write f(x).\n\nf(2) == 4", "word " * 2000])
def test_an_argument_that_is_no_file_is_the_statement(
    generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    assert solve(monkeypatch, statement) == 0
    assert generator.asked[0].statement == statement


def test_a_file_is_read_whatever_its_name(generator: MadeUpGenerator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "two words").write_text("Halve it.\n")
    assert solve(monkeypatch, str(tmp_path / "two words")) == 0
    assert generator.asked[0].statement == "Halve it.\n"


def test_no_examples_are_found_only_where_there_are_none() -> None:
    none_run = candidate("pass", examples=None, ended=Ended.LENGTH)
    assert "no examples found" in summary(solution(none_run, problem=Problem("p", "Double it.", "file")))
    assert "no examples found" not in summary(solution(none_run))
    assert "on the 2 examples" in summary(solution(none_run)) and "1 pass the 2 examples" in summary(solution(GOOD, BAD))


def test_a_summary_is_as_wide_as_a_terminal_at_most() -> None:
    lines = summary(solution(GOOD, BAD)).split("\n")
    assert len(lines) > 1 and all(0 < len(line) <= COLUMNS for line in lines)


@pytest.mark.parametrize(
    ("test", "failure", "lines"),
    [
        (
            StdinTest("1 2\n3\n", "6\n"),
            FailedTest(0, "wrong_answer", "1 2\n3\n", "", "6\n", "5\n", ""),
            ["  input     1 2", "            3", "  expected  6", "  got       5"],
        ),
        (
            AssertTest("assert double(2) > 3"),
            FailedTest(0, "wrong_answer", "assert double(2) > 3", "", "", "2", ""),
            ["  example   assert double(2) > 3", "  got       2"],
        ),
        (DOUBLE.tests[0], FailedTest(0, "timeout", "(2,)", "", "4", "", ""), ["  got       timeout"]),
        (DOUBLE.tests[0], FailedTest(0, "exception", "(2,)", "", "4", "", "KeyError: 2"), ["  got       exception: KeyError: 2"]),
    ],
)
def test_every_kind_of_example_is_shown(test: Any, failure: FailedTest, lines: list[str]) -> None:
    problem = Problem("p", "?", "file", entry_point="double", tests=(test,), tests_kind="example")
    told = failed_example(solution(candidate("pass", examples=(0, 1), failure=failure), problem=problem))
    assert told.splitlines()[-len(lines) :] == lines
