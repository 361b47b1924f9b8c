"""Problem files that anybody may have written load, or are refused in one sentence, in linear time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_gen.data_builder.problems.loaders import load_problems
from guided_gen.engine.errors import DataError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
CODE = st.lists(
    st.sampled_from(["def f(x):", "\n", "  return x", "assert f(1) == 2", "(", "\0", "if", "f", "'"]), max_size=6
).map("".join)
TEXTS = JSON.map(json.dumps) | CODE | st.text(max_size=9)
FIELDS: dict[str, dict[str, Any]] = {
    "apps": {
        "problem_id": 1,
        "question": "Add.",
        "solutions": "[]",
        "input_output": '{"inputs": [[1]], "outputs": [2], "fn_name": "f"}',
    },
    "mbpp": {"task_id": 1, "text": "Add.", "code": "def f(x): return x + 1", "test_list": ["assert f(1) == 2"]},
    "humaneval": {
        "task_id": "x/1",
        "prompt": "def f(x):\n",
        "canonical_solution": "    return x + 1",
        "test": "def check(f): assert f(1) == 2",
        "entry_point": "f",
    },
}
DEEP = "-" * 5000 + "1"


def loads(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the record loads; otherwise it is refused in one sentence."""
    path = folder / "made.jsonl"
    path.write_text(json.dumps(record) + "\n")
    try:
        return bool(load_problems(path))
    except DataError as error:
        assert "\n" not in str(error)
        return False


@pytest.mark.parametrize("schema", FIELDS)
@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_field_holds_it_loads_or_is_refused(schema: str, data: st.DataObject, tmp_path: Path) -> None:
    known = FIELDS[schema]
    assert loads(tmp_path, known)
    loads(tmp_path, known | data.draw(st.dictionaries(st.sampled_from(sorted(known)), JSON | TEXTS, max_size=2)))


@pytest.mark.parametrize(
    ("schema", "changes"),
    [
        ("apps", {"input_output": '{"inputs": "12", "outputs": "34"}'}),
        ("apps", {"input_output": '{"inputs": {"1": "2"}, "outputs": {"3": "4"}}'}),
        ("apps", {"input_output": "[" * 10_000}),
        ("apps", {"input_output": '{"inputs": [[%s]], "outputs": [1], "fn_name": "f"}' % ("9" * 1_000_000)}),
        ("mbpp", {"test_list": [f"assert f({DEEP}) == 2"]}),
        ("mbpp", {"code": "\0"}),
        ("humaneval", {"prompt": f"x = {DEEP}\ndef f(x):\n"}),
    ],
)
def test_what_is_no_problem_is_one_sentence(schema: str, changes: dict[str, str], tmp_path: Path) -> None:
    assert not loads(tmp_path, FIELDS[schema] | changes)


@pytest.mark.parametrize(
    "text", ["[" * 1_000_000, '{"a":' * 200_000, "9" * 1_000_000, '"' * 1_000_000, "\n" * 1_000_000, "\\u" * 500_000]
)
def test_a_megabyte_of_anything_takes_linear_time(text: str, tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text(text)
    with pytest.raises(DataError):
        load_problems(path)


def test_a_damaged_archive_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl.gz"
    whole = gzip.compress((json.dumps(FIELDS["apps"]) + "\n").encode() * 50)
    for at in range(10, len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(DataError):
            load_problems(path)
