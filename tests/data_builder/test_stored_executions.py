"""Executions beside rollouts: what is stored, what is run again, and that grading tests have no part in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guided_gen.data_builder import stored_executions
from guided_gen.data_builder.build_settings import statement_hash
from guided_gen.data_builder.dataset import ProblemTexts
from guided_gen.data_builder.judge.executions import PublicRuns
from guided_gen.data_builder.problems.made_inputs import made_inputs
from guided_gen.data_builder.problems.problem import CallTest, Problem
from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.data_builder.public_inputs import MOST_MADE, MOST_WRITTEN, public_inputs
from guided_gen.data_builder.stored_executions import NAME, independent_counts, read_executions, store_executions
from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import ROOT, Ended, Tree, save_trees

SETTINGS = {"problems": "made", "split": None, "template": DEFAULT_TEMPLATE.name, "template_hash": DEFAULT_TEMPLATE.hash}
DOUBLE = Problem("made/double", "Write f(x) that doubles.\n\nf(2) == 4\n", "made", entry_point="f", tests=(CallTest((77,), 154),))
SILENT = Problem("made/silent", "Write g(x).", "made", entry_point="g", tests=(CallTest((77,), 154),))
ANSWERS = {
    DOUBLE.id: [
        ("def f(x): return 2 * x\nprint(f(5), f(2))", 3),
        ("def f(x): return x ** 2\nprint(f(5))", 1),
        ("def f(x) return", 2),
    ],
    SILENT.id: [("def g(x): return x", 1), ("def g(x): return -x", 1)],
}


class Characters:
    """A tokenizer whose tokens are characters."""

    @staticmethod
    def decode(ids, skip_special_tokens):
        assert skip_special_tokens
        return "".join(map(chr, ids))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "trees").mkdir()
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    save_trees([made_up_tree(problem) for problem in (DOUBLE, SILENT)], tmp_path / "trees" / "0-of-1-00000.parquet")
    return tmp_path


def made_up_tree(problem: Problem) -> Tree:
    about = {"problem": problem.id, "statement_hash": statement_hash(problem), "status": "independent"}
    tree = Tree.below([1], about)
    for seed, (text, count) in enumerate(ANSWERS[problem.id]):
        node = ROOT
        for character in text:
            node = tree.add_node(node, ord(character), logprob=-0.5)
        tree.add_rollout(node, ROOT, Ended.EOS, seed, count)
    tree.verdicts = ["passed"] * len(tree.rollouts)
    return tree


def store(folder: Path, *problems: Problem) -> int:
    return store_executions(folder, ProblemTexts(SETTINGS, problems or (DOUBLE, SILENT)), Characters)


def test_what_is_stored_is_what_came_of_running(folder: Path):
    assert store(folder) == 2
    found = read_executions(folder)
    double = found[DOUBLE.id]
    assert double.examples == 1
    assert double.counts.tolist() == [3, 1, 2]
    assert double.passed.tolist() == [1, 1, 0]
    assert double.parses.tolist() == [True, True, False]
    assert double.classes.shape == (3, 2 + MOST_MADE)  # the example, what is made from it, what two programs wrote
    assert double.classes[:, [0, -1]].tolist() == [[0, 0], [0, 1], [1, -1]]
    assert double.results[:, [0, -1]].tolist() == [[True, True], [True, True], [False, False]]
    assert double.writers[:, -1].tolist() == [True, True, False]
    assert not double.writers[:, :-1].any()
    assert found[SILENT.id].classes.shape == (2, 0)


def test_nothing_is_run_twice_and_only_what_changed_is_run_again(folder: Path, monkeypatch):
    store(folder)
    before = (folder / NAME).read_bytes()
    monkeypatch.setattr(stored_executions, "PublicRuns", None)
    assert store(folder) == 0
    assert (folder / NAME).read_bytes() == before
    monkeypatch.undo()
    stored = read_executions(folder)[SILENT.id]
    stored_executions._write(folder / NAME, [stored])
    assert store(folder) == 1
    assert set(read_executions(folder)) == {DOUBLE.id, SILENT.id}


def test_a_killed_run_goes_on(folder: Path, monkeypatch):
    write = stored_executions._write

    def dies(*given):
        write(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(stored_executions, "_SAVED_EVERY", 1)
    monkeypatch.setattr(stored_executions, "_write", dies)
    with pytest.raises(KeyboardInterrupt):
        store(folder)
    monkeypatch.setattr(stored_executions, "_write", write)
    assert store(folder) == 1
    assert set(read_executions(folder)) == {DOUBLE.id, SILENT.id}


def test_grading_tests_are_not_read():
    other = replace(DOUBLE, tests=(CallTest((9,), 1),))
    programs = [text for text, _ in ANSWERS[DOUBLE.id]]
    inputs, _ = public_inputs(DOUBLE, programs, [1, 1, 1])
    assert inputs == public_inputs(other, programs, [1, 1, 1])[0]
    assert inputs.examples == (CallTest((2,), 4),)
    made = made_inputs(DOUBLE, inputs.examples, MOST_MADE)
    assert inputs.made == (*made, (5,))


def test_inputs_that_are_made_are_not_written_again():
    made = public_inputs(DOUBLE, [], [])[0].made
    inputs, writers = public_inputs(DOUBLE, [f"def f(x): pass\nf({made[0][0]}); f(77)"], [1])
    assert len(made) == MOST_MADE
    assert inputs.made == (*made, (77,))
    assert writers.tolist() == [[False] * (1 + MOST_MADE) + [True]]


def test_inputs_that_most_samples_wrote_come_first_and_are_few():
    programs = [f"def g(x): pass\n{'; '.join(f'g({i})' for i in range(first, 20))}" for first in (0, 5, 10)]
    inputs, writers = public_inputs(SILENT, programs, [1, 1, 1])
    assert inputs.made == tuple((i,) for i in range(10, 10 + MOST_WRITTEN))
    assert writers.all()


def test_branches_are_no_independent_samples():
    tree = made_up_tree(DOUBLE)
    tree.metadata |= {"status": "kept", "tries": [2, 1], "trunk": 0}
    assert independent_counts(tree).tolist() == [2, 1, 0]


def test_a_folder_without_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="guided-gen dataset execute"):
        read_executions(tmp_path)
    (tmp_path / NAME).write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_executions(tmp_path)


def test_equal_programs_run_once(folder: Path, monkeypatch):
    ran = []
    run = PublicRuns.run
    monkeypatch.setattr(PublicRuns, "run", lambda runs, program: ran.append(program) or run(runs, program))
    monkeypatch.setitem(ANSWERS, DOUBLE.id, [("```\ndef f(x): return x\n```", 1), ("```python\ndef f(x): return x\n```", 1)])
    save_trees([made_up_tree(DOUBLE)], folder / "trees" / "0-of-1-00000.parquet")
    store(folder)
    assert len(ran) == 1
    stored = read_executions(folder)[DOUBLE.id]
    assert np.array_equal(stored.classes[0], stored.classes[1])
