"""One door to all sources: names, paths, splits, and errors that say where."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from guided_gen.data_builder.problems import loaders
from guided_gen.data_builder.problems.asserts import as_call_based
from guided_gen.data_builder.problems.loaders import data_folder, load_problems
from guided_gen.data_builder.problems.quality import skip_reason
from guided_gen.engine.errors import DataError, SettingsError

needs_data = pytest.mark.skipif(not data_folder().is_dir(), reason="the data folder (GUIDED_GEN_DATA) is absent")
NUMBERS = {"train": [1, 4], "validation": [2], "untouched": [3]}


def apps_record(number: int) -> dict[str, Any]:
    tests = json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]})
    return {
        "problem_id": number,
        "question": f"Problem {number}.",
        "solutions": "",
        "input_output": tests,
        "difficulty": "interview",
    }


MBPP = {"task_id": 601, "text": "Add.", "code": "def f(x):\n    return x", "test_list": ["assert f(1) == 1"]}
HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def f(x):\n",
    "entry_point": "f",
    "canonical_solution": "    return x\n",
    "test": "def check(candidate):\n    assert candidate(1) == 1\n",
}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    return path


def ids(problems) -> list[str]:
    return [problem.id for problem in problems]


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data folder with four train problems, two test problems, MBPP and HumanEval."""
    write(tmp_path / "apps" / "train.jsonl.gz", [apps_record(number) for number in (1, 2, 3, 4)])
    write(tmp_path / "apps" / "test.jsonl.gz", [apps_record(number) for number in (1, 2)])
    (tmp_path / "apps" / "splits.json").write_text(json.dumps(NUMBERS))
    write(tmp_path / "mbpp.jsonl.gz", [MBPP, MBPP | {"task_id": 11}, MBPP | {"task_id": 3}])
    write(tmp_path / "humaneval.jsonl.gz", [HUMANEVAL])
    monkeypatch.setenv("GUIDED_GEN_DATA", str(tmp_path))
    return tmp_path


def test_names_are_read_from_the_data_folder(data):
    assert ids(load_problems("apps", "train")) == ["apps-train/1", "apps-train/4"]
    assert ids(load_problems("apps", "validation")) == ["apps-train/2"]
    assert ids(load_problems("apps", "test")) == ["apps-test/1", "apps-test/2"]
    assert ids(load_problems("mbpp")) == ["mbpp/601", "mbpp/11", "mbpp/3"]
    assert ids(load_problems("mbpp", "train")) == ["mbpp/601"]
    assert ids(load_problems("mbpp", "test")) == ["mbpp/11"]
    assert ids(load_problems("humaneval")) == ids(load_problems("humaneval", "test")) == ["humaneval/0"]


@pytest.mark.parametrize("source", ["apps", "apps/train.jsonl.gz", "apps/"])
def test_untouched_problems_are_never_read_by_accident(data, source):
    source = source if source == "apps" else str(data / source)
    with pytest.raises(SettingsError, match="untouched"):
        load_problems(source, "untouched")
    with pytest.raises(SettingsError, match="split"):
        load_problems(source)
    assert ids(load_problems(source, "untouched", allow_untouched=True)) == ["apps-train/3"]


def test_a_train_file_without_its_lists_follows_the_shipped_ones(tmp_path):
    lists = json.loads(loaders.SHIPPED_SPLITS.read_text())
    first = {name: numbers[0] for name, numbers in lists.items()}
    path = write(tmp_path / "train.jsonl", [apps_record(number) for number in first.values()])
    for name, number in first.items():
        assert ids(load_problems(str(path), name, allow_untouched=True)) == [f"apps-train/{number}"]


@needs_data
def test_the_shipped_lists_are_those_of_the_data_folder_and_share_nothing():
    shipped = json.loads(loaders.SHIPPED_SPLITS.read_text())
    folder = json.loads((data_folder() / "apps" / "splits.json").read_text())
    assert shipped == {name: folder[name] for name in shipped}
    assert max(Counter(number for numbers in shipped.values() for number in numbers).values()) == 1


def test_a_path_may_be_any_file_or_folder(data, tmp_path):
    own = write(tmp_path / "own" / "mine.jsonl", [apps_record(5)])
    assert ids(load_problems(str(own))) == ["mine/5"]
    mixed = write(tmp_path / "own" / "mixed.jsonl.gz", [HUMANEVAL])
    assert ids(load_problems(str(mixed))) == ["humaneval/0"]
    assert ids(load_problems(str(data / "apps"), "test")) == ["apps-test/1", "apps-test/2"]
    text = tmp_path / "sum.txt"
    text.write_text("f(1) == 2")
    assert ids(load_problems(str(text))) == ["file/sum"]


def test_the_original_layout_loads_from_every_level(tmp_path):
    for part, number in (("train", "0001"), ("train", "0002"), ("test", "0001")):
        folder = tmp_path / "APPS" / part / number
        folder.mkdir(parents=True)
        (folder / "question.txt").write_text("Do it.")
    root = tmp_path / "APPS"
    assert ids(load_problems(str(root), "test")) == ["apps-test/1"]
    assert ids(load_problems(str(root / "test"))) == ["apps-test/1"]
    assert ids(load_problems(str(root / "test" / "0001"))) == ["apps-test/1"]
    assert ids(load_problems(str(root), "train")) == ["apps-train/1", "apps-train/2"]


def test_where_there_is_no_copy_apps_is_read_as_json_lines_through_datasets(data, monkeypatch, tmp_path):
    copy = write(tmp_path / "hub" / "train.jsonl", [apps_record(number) for number in (1, 2, 3, 4)])
    monkeypatch.setenv("GUIDED_GEN_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setitem(
        loaders.HUB, "apps-train", loaders.HUB["apps-train"] | {"data_files": str(copy), "cache_dir": str(tmp_path)}
    )
    assert ids(load_problems("apps", "train")) == [f"apps-train/{number}" for number in (1, 2, 4)]


def test_an_unreachable_hub_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("GUIDED_GEN_DATA", str(tmp_path))
    monkeypatch.setitem(loaders.HUB, "mbpp", {"path": "json", "data_files": str(tmp_path / "absent.jsonl"), "split": "train"})
    with pytest.raises(DataError, match="mbpp on the Hugging Face hub cannot be read"):
        load_problems("mbpp")


@pytest.mark.parametrize(("source", "split"), [("mbpp", "untouched"), ("humaneval", "train"), ("apps", "tests"), ("apps", None)])
def test_a_split_that_a_source_does_not_have_is_an_error(data, source, split):
    with pytest.raises(SettingsError):
        load_problems(source, split, allow_untouched=True)


@pytest.mark.parametrize(
    "lines",
    ['{"question": "a"', "[1]", '{"other": 1}', '{"question": 1, "problem_id": 1}', '{"problem_id": 1, "question": "\ud800"}'],
)
def test_a_malformed_line_is_named_by_file_and_number(tmp_path, lines):
    path = tmp_path / "mine.jsonl"
    path.write_bytes((json.dumps(apps_record(1)) + "\n\n").encode() + lines.encode(errors="surrogatepass") + b"\n")
    with pytest.raises(DataError, match=r"mine\.jsonl"):
        load_problems(str(path))


def test_the_line_number_counts_blank_lines(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(apps_record(1)) + "\n\nnot JSON\n")
    with pytest.raises(DataError, match="line 3"):
        load_problems(str(path))


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "plain.jsonl.gz", "empty.jsonl", "folder", "absent"])
def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path, name):
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(json.dumps(apps_record(1)).encode())[:-12])
    (tmp_path / "plain.jsonl.gz").write_text("{}")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=name.split(".")[0]):
        load_problems(str(tmp_path / name))


@needs_data
def test_every_row_of_the_real_files_loads():
    parts = {split: load_problems("apps", split, allow_untouched=True) for split in loaders.SPLITS}
    assert {split: len(problems) for split, problems in parts.items()} == {
        "train": 1871,
        "validation": 150,
        "untouched": 250,
        "test": 4940,
    }
    problems = [problem for part in parts.values() for problem in part] + load_problems("mbpp") + load_problems("humaneval")
    assert len(set(ids(problems))) == len(problems) == 7211 + 974 + 164
    kinds = Counter(problem.tests_kind for problem in parts["test"])
    assert kinds == {"full": 199, "example": 4650, "none": 91}
    for problem in problems:
        assert problem.statement.strip()
        assert (problem.tests_kind == "none") == (not problem.tests)
        assert len({type(test) for test in problem.tests}) <= 1


@needs_data
def test_weak_tests_of_the_train_file_are_those_counted_in_its_documentation():
    train = [
        problem
        for split in ("train", "validation", "untouched")
        for problem in load_problems("apps", split, allow_untouched=True)
    ]
    reasons = Counter(skip_reason(problem) for problem in train if problem.difficulty == "introductory")
    assert reasons["fewer than 3 tests"] == 390


@needs_data
@pytest.mark.filterwarnings("ignore")  # the references' own
def test_most_problems_of_mbpp_and_humaneval_turn_call_based_and_agree_with_their_references():
    """The references return what the converted tests expect: the conversion loses nothing."""
    converted = [(problem, as_call_based(problem)) for name in ("mbpp", "humaneval") for problem in load_problems(name)]
    calls = [call for _, call in converted if call]
    assert len(calls) > 1090
    wrong = [call.id for call in calls if not reference_passes(call)]
    assert len(wrong) <= 0.01 * len(calls), wrong


def reference_passes(problem) -> bool:
    scope: dict[str, Any] = {"__name__": "reference"}
    exec(problem.solutions[0], scope)
    return all(scope[problem.entry_point](*test.args) == test.expected for test in problem.tests)
