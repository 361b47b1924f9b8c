"""The comparison of prompts: who is asked, what is stored, what is computed."""

import numpy as np
import pytest

from guided_gen.benchmarks.studies.prompt_comparison import (
    Answer,
    choose_problems,
    compare,
    judge_answers,
    read_answers,
    sample_answers,
)
from guided_gen.data_builder.problems.problem import CallTest, Problem
from guided_gen.data_builder.problems.prompts import CODE, PLAN, TEMPLATES
from guided_gen.engine.errors import GuidedGenError

DOUBLE = tuple(CallTest((number,), 2 * number) for number in range(3))


def problem(number: int, tests=DOUBLE, difficulty="introductory") -> Problem:
    return Problem(f"p/{number}", "Double it.", "p", entry_point="f", tests=tests, difficulty=difficulty)


def answer(number: int, template=CODE, completion="", tokens=10, ended=True) -> Answer:
    return Answer(f"p/{number}", template.name, template.hash, completion, tokens, ended)


def test_problems_are_introductory_fit_for_labels_and_chosen_by_seed_alone():
    fit = [problem(number) for number in range(20)]
    unfit = [problem(20, tests=DOUBLE[:2]), problem(21, difficulty="interview")]
    chosen = choose_problems(fit + unfit, 10, seed=1)
    assert len({one.id for one in chosen}) == 10
    assert not {one.id for one in chosen} & {one.id for one in unfit}
    assert choose_problems((fit + unfit)[::-1], 10, seed=1) == chosen
    assert choose_problems(fit + unfit, 10, seed=2) != chosen
    with pytest.raises(GuidedGenError, match="20"):
        choose_problems(fit + unfit, 21, seed=1)


def test_pass_at_1_is_the_mean_over_problems_and_its_interval_holds_it():
    answers, passed = [], []
    for number, correct in ((1, 4), (2, 1), (3, 0)):
        answers += [answer(number, tokens=100, ended=False)] * 4
        passed += [True] * correct + [False] * (4 - correct)
        answers += [answer(number, PLAN, tokens=200)] * 4
        passed += [False] * 4
    answers.append(answer(4, CODE))  # asked with one template only: left out
    passed.append(True)
    [code, plan], difference = compare(answers, passed)
    assert (code.template, plan.template) == ("code", "plan")
    assert code.pass_at_1 == pytest.approx(5 / 12)
    assert code.shares == pytest.approx([1, 0.25, 0])
    assert code.interval[0] < code.pass_at_1 < code.interval[1]
    assert (plan.pass_at_1, plan.interval) == (0, (0, 0))
    assert (code.tokens_per_answer, plan.tokens_per_answer) == (100, 200)
    assert (code.cut_off, plan.cut_off) == (1, 0)
    assert difference.of == "code - plan"
    assert difference.pass_at_1 == pytest.approx(5 / 12)


def test_the_difference_is_paired():
    """Templates that agree on every problem differ by nothing, however much the problems differ."""
    shares = np.random.default_rng(0).random(30) < 0.5
    answers = [answer(number, template) for template in (CODE, PLAN) for number in range(30)]
    [code, _], difference = compare(answers, [*shares, *shares])
    assert difference.interval == (0, 0)
    assert code.interval[1] - code.interval[0] > 0.2


def test_without_a_problem_in_common_there_is_nothing_to_compare():
    with pytest.raises(GuidedGenError):
        compare([answer(1, CODE), answer(2, PLAN)], [True, True])
    with pytest.raises(GuidedGenError):
        compare([], [])


def test_stored_answers_are_not_sampled_again(tmp_path):
    asked = []

    def complete(questions):
        for one, template in questions:
            asked.append((one.id, template.name))
            yield [answer(int(one.id[2:]), template, "text\nwith\u2028lines")] * 2

    path = tmp_path / "answers.jsonl"
    sample_answers([problem(1)], complete, path)
    sample_answers([problem(1), problem(2)], complete, path)
    assert sorted(asked) == sorted((f"p/{number}", name) for number in (1, 2) for name in TEMPLATES)
    assert len(read_answers(path)) == 2 * len(asked)
    assert read_answers(path)[0] == answer(1, next(iter(TEMPLATES.values())), "text\nwith\u2028lines")


def test_answers_are_judged_by_their_programs():
    completions = [
        "```python\ndef f(x):\n    return 2 * x\n```",
        "Plan: double.\n```python\ndef f(x):\n    return x\n```",
        "I do not know.",
        "def f(x):\n    return x + x",
    ]
    answers = [answer(1, completion=completion) for completion in completions]
    assert judge_answers([problem(1)], answers) == [True, False, False, True]
