"""A search that knows how likely its complete answers are to be correct: when it ends, when it goes on, and what it tells."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from guided_gen.candidate_checks import CandidateChecks, ProgramChecks
from guided_gen.data_builder.judge.executions import PUBLIC_LIMITS, Execution
from guided_gen.data_builder.judge.verdict import Status, Verdict
from guided_gen.data_builder.problems.plain_text import problem_from_statement
from guided_gen.data_builder.problems.problem import AssertTest, Problem
from guided_gen.data_builder.public_inputs import MOST_MADE
from guided_gen.engine.search import SearchSettings
from guided_gen.evidence import EVIDENCE, shipped_evidence
from guided_gen.generator import GuidedGenerator
from guided_gen.known_values import SHIPPED
from guided_gen.solution import Solution
from guided_gen.valuemodel.evidence import COLUMNS, NEED_VALUES, Column, EvidenceModel

DOUBLE = problem_from_statement("Write f(x) that doubles x.\n\nf(2) == 4\nf(3) == 6\n", "text/problem")
ALIKE = {"n": 4, "max_new_tokens": 12, "seed": 1}


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32", value=None)


def certain(probability: float) -> EvidenceModel:
    """An evidence model that says the same of all."""
    return EvidenceModel({}, {0.0: -9.0, 1.0: 9.0}.get(probability, 0.0))


def solved(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch, probability: float, **changes: Any) -> Solution:
    """With answers that always parse and pass all examples or none, and end early."""
    monkeypatch.setattr(generator, "evidence", certain(probability))
    passed = bool(changes.pop("passed", False))

    def check(checks: ProgramChecks, program: str) -> tuple[Verdict, Execution]:
        status: Status = "passed" if passed else "wrong_answer"
        return Verdict(checks.problem.id, status, (status, status), None, checks.isolation, 0.0), Execution()

    monkeypatch.setattr(ProgramChecks, "check", check)
    return generator.solve(DOUBLE, SearchSettings(stop_ids=frozenset(range(0, 256, 3))), **(ALIKE | changes))


def begun(solution: Solution) -> int:
    return sum(candidate.multiplicity for candidate in solution.candidates)


def test_it_goes_on_while_all_fail_an_example_up_to_most(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun(solved(generator, monkeypatch, 0.5)) == 4
    assert begun(solved(generator, monkeypatch, 0.5, most=10)) == 10
    assert begun(solved(generator, monkeypatch, 0.5, most=10, passed=True)) == 4


def test_answers_that_end_in_one_step_are_checked_before_it_goes_on(
    generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = SearchSettings(stop_ids=frozenset(range(1000)))
    solved(generator, monkeypatch, 0.5, passed=True)  # from now on all answers pass
    assert begun(generator.solve(DOUBLE, at_once, **(ALIKE | {"most": 16}))) == 4


def test_with_a_budget_it_goes_on_while_none_is_likely_enough(
    generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert begun(solved(generator, monkeypatch, 0.5, passed=True, budget=1000, most=16)) == 16
    assert begun(solved(generator, monkeypatch, 1.0, passed=True, budget=1000, most=16)) == 4
    assert begun(solved(generator, monkeypatch, 0.5, passed=True, budget=1000, most=16, enough=0.4)) == 4
    tight = solved(generator, monkeypatch, 0.5, passed=True, budget=30, most=16)
    assert tight.decoded_tokens <= 30


def test_it_ends_once_one_is_likely_enough(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = solved(generator, monkeypatch, 0.5, n=16, max_new_tokens=60, check_every=1)
    monkeypatch.setattr(CandidateChecks, "is_done", lambda checks, leaf: checks._checked[leaf].result() is not None)
    ended = solved(generator, monkeypatch, 1.0, n=16, max_new_tokens=60, check_every=1)
    assert any(candidate.complete for candidate in ended.candidates)
    assert ended.decoded_tokens < whole.decoded_tokens
    assert ended.best.complete


def test_the_probability_ranks_and_is_told(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EvidenceModel({"log-probability": Column(-1.0, 0.0)}, -1.0)  # the least likely text is the best
    monkeypatch.setattr(generator, "evidence", model)
    monkeypatch.setattr(ProgramChecks, "check", lambda *_: (None, Execution()))
    problem = Problem("text/open", "Write f(x).", "file", entry_point="f")
    solution = generator.solve(problem, SearchSettings(stop_ids=frozenset(range(0, 256, 3))), n=8, max_new_tokens=40, seed=3)
    complete = [one for one in solution.candidates if one.complete]
    likely = [one.likelihood.probability for one in complete if one.likelihood is not None]
    assert len(likely) == len(complete) >= 2
    alike = [one for one in complete if one.parses == complete[0].parses]
    assert [one.logprobs.mean() for one in alike] == sorted(one.logprobs.mean() for one in alike)
    assert all(one.likelihood is None for one in solution.candidates if not one.complete)


def test_a_callers_yes_is_one_more_example(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    model = EvidenceModel({"examples": Column(10.0, 0.5)}, 0.0)
    monkeypatch.setattr(generator, "evidence", model)
    problem = Problem("text/open", "Write f(x).", "file", entry_point="f")
    settings = SearchSettings(stop_ids=frozenset(range(0, 256, 3)))
    solution = generator.solve(problem, settings, n=8, max_new_tokens=40, seed=3, accept=lambda text: len(text) % 2 == 0)
    complete = [one for one in solution.candidates if one.complete]
    assert complete
    for one in complete:
        assert one.likelihood is not None
        assert one.likelihood.probability > 0.9 if one.accepted else one.likelihood.probability < 0.1


def test_what_programs_write_is_an_input_for_all() -> None:
    checks = ProgramChecks(DOUBLE)
    try:
        first = checks.check("def f(x): return 2 * x\nprint(f(2), f(-1))")
        second = checks.check("def f(x): return 2 * abs(x)\nprint(f(-5))")
        assert first[0] is not None and first[0].passed and second[0] is not None and second[0].passed
        same = [one == other for one, other in zip(first[1].classes, second[1].classes, strict=True)]
        assert len(same) == 2 + MOST_MADE + 2
        assert same[:2] == [True, True]
        assert same[-2:] == [False, False]
        wrong, _ = checks.check("def f(x): return 4")
        assert wrong is not None and wrong.failure is not None
        assert (wrong.failure.index, wrong.failure.expected, wrong.failure.got) == (1, "6", "4")
    finally:
        checks.close()


def test_asserts_of_ones_own_are_judged_as_ever() -> None:
    checks = ProgramChecks(Problem("own", "f", "file", entry_point="f", tests=(AssertTest("assert f(2) == 4"),)))
    try:
        assert checks.check("def f(x): return 2 * x")[0].passed  # type: ignore[union-attr]
        assert not checks.check("def f(x): return x")[0].passed  # type: ignore[union-attr]
    finally:
        checks.close()


def test_an_endless_candidate_costs_its_own_limits() -> None:
    checks = CandidateChecks(DOUBLE, None)
    start = time.monotonic()
    checks.start(0, "```python\ndef f(x):\n    while True: pass\n```")
    verdict = checks.verdict(0)
    checks.close()
    assert verdict is not None and verdict.tests == ("timeout", "timeout")
    assert time.monotonic() - start < 30


HOSTILE = {
    "endless": "def f(x):\n    while True: pass",
    "asleep": "import time\ndef f(x): time.sleep(10 ** 6)",
    "fork bomb": "import os\ndef f(x):\n    while True: os.fork()",
    "printer": "def f(x):\n    print('x' * 2 ** 23)\n    return 2 * x",
    "memory": "def f(x): return [0] * 10 ** 11",
}


@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_candidate_delays_a_search_by_no_more_than_its_limits(
    generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    settings = SearchSettings(stop_ids=frozenset(range(0, 256, 3)), n=2, max_new_tokens=12, seed=1)
    fast = generator.solve(DOUBLE, settings)
    monkeypatch.setattr("guided_gen.candidate_checks.extract_program", lambda text: f"{program}\n# {hash(text)}")
    start = time.monotonic()
    slow = generator.solve(DOUBLE, settings)
    complete = sum(one.complete for one in slow.candidates)
    assert complete
    assert time.monotonic() - start < 30 + complete * (PUBLIC_LIMITS.program_seconds + PUBLIC_LIMITS.wall_seconds)
    assert slow.decoded_tokens == fast.decoded_tokens
    assert {one.text for one in slow.candidates} == {one.text for one in fast.candidates}


def test_the_evidence_models_of_the_package_read_what_there_is() -> None:
    plain = shipped_evidence(None)
    assert plain.columns.keys() <= set(COLUMNS) - set(NEED_VALUES)
    for folder in (path for path in SHIPPED.iterdir() if (path / EVIDENCE).is_file()):
        beside = shipped_evidence(folder)
        assert beside.columns.keys() <= set(COLUMNS)
        assert beside.columns["value of all"].weight > 0
    for model in (plain, beside):
        assert model.columns["agreement"].weight > 0
        assert model.columns["all examples"].weight > 0
