"""`guided-gen examples` prints what candidates would be run on."""

import json

from click.testing import CliRunner

from guided_gen.cli import cli


def run(*arguments: str, **options) -> str:
    result = CliRunner().invoke(cli, ["examples", *arguments], **options)
    assert result.exit_code == 0, result.output
    return result.output


def test_calls_are_printed_with_their_lines(tmp_path):
    path = tmp_path / "problem.txt"
    path.write_text('Double it.\n\ndef double(x):\n\ndouble(2) == 4\ndouble("a")\n# returns "aa"\n')
    assert run(str(path)).splitlines() == ["line 5: double(2) == 4", "lines 6 to 7: double('a') == 'aa'"]


def test_json_has_arguments_and_result_or_input_and_output():
    call = json.loads(run("--json", "Write f. f((1, 2), {3}) == {'a': None}"))
    assert call["entry_point"] == "f"
    shown = "f((1, 2), {3}) == {'a': None}"
    assert call["examples"] == [{"arguments": [[1, 2], [3]], "result": {"a": None}, "call": shown, "lines": [1, 1]}]
    block = json.loads(run("--json", "-", input="Add.\n\nInput\n1 2\nOutput\n3\n"))
    assert block == {"entry_point": None, "examples": [{"input": "1 2\n", "output": "3\n", "lines": [3, 6]}]}


def test_a_statement_without_examples_says_so():
    assert run("Write a function that doubles a number.") == "no examples found\n"
    assert json.loads(run("--json", "Write a function that doubles.")) == {"entry_point": "solution", "examples": []}
    assert json.loads(run("--json", "Double a number.")) == {"entry_point": None, "examples": []}
