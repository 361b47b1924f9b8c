import json

import pytest
from click.testing import CliRunner

from guided_gen.cli.judge import command
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


def test_the_summary_counts_by_status_and_names_the_isolation(files):
    result = run("--problems", files[0], "--answers", files[1], "--isolation", "rlimits")
    assert result.exit_code == 0
    assert "wrong_answer" in result.output
    assert "rlimits" in result.output


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no json", "line 1: not a JSON object"),
        ('{"problem_id": "own/5"}', "line 1: not a JSON object"),
        ('{"problem_id": "own/6", "completion": ""}', "no problem 'own/6'"),
        ('{"problem_id": "own/5", "completion": 1}', "not text"),
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


def test_the_self_test_shows_every_attack(monkeypatch):
    from guided_gen.data_builder.judge import attacks

    few = attacks.ATTACKS[:2]
    monkeypatch.setattr(attacks, "ATTACKS", few)
    monkeypatch.setattr(attacks.run_attacks, "__defaults__", (few,))
    result = run("--selftest", "--isolation", "rlimits")
    assert result.exit_code == 0
    assert "2 of 2 held, 0 false passes" in result.output
    rows = [json.loads(line) for line in run("--selftest", "--isolation", "rlimits", "--json").output.splitlines()]
    assert [(row["attack"], row["held"]) for row in rows] == [(attack.name, True) for attack in few]


def test_the_self_test_fails_where_an_attack_passes(monkeypatch):
    from guided_gen.data_builder.judge import attacks

    (reader,) = [attack for attack in attacks.ATTACKS if attack.name == "test files"]
    monkeypatch.setattr(attacks, "ATTACKS", (reader,))
    monkeypatch.setattr(attacks.run_attacks, "__defaults__", ((reader,),))
    result = run("--selftest", "--isolation", "none")
    assert result.exit_code == 1
    assert "FALSE PASS" in result.output
