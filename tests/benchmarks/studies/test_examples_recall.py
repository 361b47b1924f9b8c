"""The study counts what is read, missed and wrong as its labels say."""

from __future__ import annotations

import json

from guided_gen.benchmarks.studies.examples_recall import LABELS, digest, main
from guided_gen.data_builder.problems.problem import CallTest, StdinTest


def test_equal_examples_have_one_digest_and_others_another() -> None:
    same = [CallTest(((1, 2.0),), (3,)), CallTest(([1, 2],), [3.0])]
    other = [CallTest(([1, 2],), ["3"]), CallTest(([True, 2],), [3]), CallTest((1, 2), [3]), CallTest(([1, 2],), 3)]
    assert len({digest(test) for test in same}) == 1
    assert len({digest(test) for test in same + other}) == 1 + len(other)
    assert digest(StdinTest("1 \n2\n", "3\n\n")) == digest(StdinTest("1\n2", "3")) != digest(StdinTest("1\n\n2", "3"))


def test_labels_are_lines_and_digests_of_150_problems() -> None:
    labels = json.loads(LABELS.read_text(encoding="utf-8"))["examples"]
    assert len(labels) == 150
    for label in (label for labelled in labels.values() for label in labelled):
        first, last = label["lines"]
        assert 1 <= first <= last and len(label["sha256"]) == 64 and set(label) == {"lines", "sha256"}


def test_the_table_counts_found_missed_and_wrong(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "apps").mkdir()
    tests = json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[2]]})
    record = {"problem_id": 7, "question": "f(1) == 2\nf(2) == 9\n", "input_output": tests, "starter_code": "def f(n):"}
    (tmp_path / "apps" / "train.jsonl").write_text(json.dumps(record))
    (tmp_path / "apps" / "splits.json").write_text('{"train": [7]}')
    monkeypatch.setenv("GUIDED_GEN_DATA", str(tmp_path))
    labelled = [
        {"lines": [1, 1], "sha256": digest(CallTest((1,), 2))},
        {"lines": [2, 2], "sha256": digest(CallTest((2,), 3))},
    ]
    path = tmp_path / "labels.json"
    path.write_text(json.dumps({"examples": {"7": labelled}}))
    main(path)
    *_, total, listed = capsys.readouterr().out.splitlines()
    assert total.split() == ["all", "1", "2", "2", "0.500", "1", "0.500"]
    assert listed == "7 (function): missed in lines 2 to 2; 1 wrong"
