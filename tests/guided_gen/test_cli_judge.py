import json

import pytest
from click.testing import CliRunner

from guided_gen.cli.judge import _told, command
from guided_gen.data_builder.judge.sandbox import Sandbox
from guided_gen.data_builder.judge.verdict import FailedTest, Verdict
from guided_gen.engine.errors import GuidedGenError

RECORD = {
    "question": "Add two numbers.",
    "solutions": "[]",
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}),
    "difficulty": "introductory",
    "problem_id": 5,
    "starter_code": "def add(a, b):",
}


@pytest.fixture
def files(tmp_path):
    """(problems, answers): one problem, and two answers to it of which the first is right."""
    problems, answers = tmp_path / "own.jsonl", tmp_path / "answers.jsonl"
    problems.write_text(json.dumps(RECORD) + "\n")
    completions = ["```python\ndef add(a, b):\n    return a + b\n```", "def add(a, b):\n    return 3"]
    answers.write_text("".join(json.dumps({"problem_id": "own/5", "completion": text}) + "\n" for text in completions))
    return problems, answers


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_json_gives_one_verdict_a_line_and_exit_code_0(files):
    result = run("--problems", files[0], "--answers", files[1], "--json")
    assert result.exit_code == 0
    verdicts = {row["line"]: row for row in map(json.loads, result.output.splitlines())}
    assert {line: row["status"] for line, row in verdicts.items()} == {1: "passed", 2: "wrong_answer"}
    assert verdicts[1]["problem_id"] == "own/5"
    assert verdicts[1]["isolation"] in ("full", "namespaces", "rlimits")
    assert verdicts[2]["failure"]["index"] == 1


def test_verdicts_are_rows_in_a_pipe(files):
    result = run("--problems", files[0], "--answers", files[1], "--isolation", "rlimits")
    assert result.exit_code == 0
    heads, *rows, counts = result.output.splitlines()
    assert [len(row.split("\t")) for row in (heads, *rows)] == [8, 8, 8]
    told = {row["line"]: row for row in (dict(zip(heads.split("\t"), row.split("\t"), strict=True)) for row in rows)}
    assert (told["1"]["status"], told["1"]["test"], told["1"]["got"]) == ("passed", "", "")
    wrong = told["2"]
    assert (wrong["problem"], wrong["test"], wrong["expected"], wrong["got"]) == ("own/5", "1", "'7'", "'3'")
    assert counts.startswith("# 2 answers: ") and counts.endswith("(isolation: rlimits)")


def test_a_verdict_in_a_terminal_is_lines_that_fit_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    failure = FailedTest(1, "wrong_answer", "(3, 4)", "", "7", "long" * 99, "")
    lines = _told(2, Verdict("own/5", "wrong_answer", ("passed", "wrong_answer"), failure, "rlimits", 0.1)).split("\n")
    assert lines[:3] == ["     2  wrong_answer  own/5", "        test 1, input: '(3, 4)'", "        expected: '7'"]
    assert max(map(len, lines)) == 80


def test_lines_end_at_newlines_only(files):
    ends = "\u2028\u0085\x0b\x0c\x1c\u2029"
    answer = {"problem_id": "own/5", "completion": f"def add(a, b): return a + b  # {ends}"}
    files[1].write_bytes(b"\r\n".join(json.dumps(answer, ensure_ascii=False).encode() for _ in range(2)))
    result = run("--problems", files[0], "--answers", files[1], "--json")
    assert sorted(json.loads(line)["line"] for line in result.output.split("\n") if line) == [1, 2]


def test_answers_that_are_not_judged_are_told_at_the_end(files, monkeypatch):
    from guided_gen.data_builder.judge import program

    def dead(*arguments):
        if b"3" in arguments[2].get("program", "").encode():
            raise OSError("no processes")
        return Sandbox(*arguments)

    monkeypatch.setattr(program, "Sandbox", dead)
    monkeypatch.setattr(program, "START_PAUSES", ())
    result = run("--problems", files[0], "--answers", files[1], "--isolation", "rlimits")
    assert "1\tpassed\town/5" in result.output
    assert "# 1 answers: 1 passed (isolation: rlimits)" in result.output
    assert isinstance(result.exception, GuidedGenError)
    assert str(result.exception).startswith("1 answers were not judged, the first of them 2: A sandbox")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no json", "line 1: not a JSON object"),
        ('{"problem_id": "own/5"}', "line 1: not a JSON object"),
        ('{"problem_id": "own/6", "completion": ""}', "no problem 'own/6'"),
        ('{"problem_id": "own/5", "completion": 1}', "not text"),
        ('{"problem_id": ["own/5"], "completion": ""}', "no problem"),
        ("[" * 1_000_000, "line 1: not a JSON object"),
        ("9" * 1_000_000, "line 1: not a JSON object"),
    ],
)
def test_bad_answers_are_one_clear_sentence(files, line, message):
    files[1].write_text(line + "\n")
    result = run("--problems", files[0], "--answers", files[1])
    assert isinstance(result.exception, GuidedGenError)
    assert message in str(result.exception)


def test_a_missing_file_and_a_missing_level_are_errors(files):
    missing = run("--problems", files[0], "--answers", files[1].with_name("none"))
    assert "cannot be read" in str(missing.exception)
    level = run("--problems", files[0], "--answers", files[1], "--isolation", "strong")
    assert "no isolation level 'strong'" in str(level.exception)
    assert run("--problems", files[0]).exit_code == 2


@pytest.fixture
def few(monkeypatch):
    """A function: have the suite hold only these attacks."""
    from guided_gen.data_builder.judge import attack_suite

    def keep(*names):
        monkeypatch.setattr(attack_suite, "ATTACKS", tuple(a for a in attack_suite.ATTACKS if a.name in names))

    return keep


def test_the_self_test_shows_every_attack(few, monkeypatch):
    few("always equal", "echo")
    result = run("--selftest", "--isolation", "rlimits")
    assert result.exit_code == 0
    assert "always equal\trlimits held\n" in result.output
    assert "2 of 2 held, 0 false passes" in result.output
    rows = [json.loads(line) for line in run("--selftest", "--isolation", "rlimits", "--json").output.splitlines()]
    assert [(row["attack"], row["held"]) for row in rows] == [("always equal", True), ("echo", True)]


def test_the_self_test_fails_where_an_attack_passes(few):
    few("test files")
    result = run("--selftest", "--isolation", "none")
    assert result.exit_code == 1
    assert "none FALSE PASS" in result.output
