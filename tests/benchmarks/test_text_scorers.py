"""Asking the model about an answer, and what only a problem with full tests may be ranked by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from guided_gen.benchmarks.judging import check_examples, printed_examples
from guided_gen.benchmarks.text_scorers import TEXT_SCORERS, Judgement, first_tokens, judged_scores
from guided_gen.data_builder.problems.problem import CallTest, Problem
from guided_gen.data_builder.problems.prompts import CODE
from guided_gen.engine.errors import DataError, ModelError, SettingsError

from ..engine.made_up import MadeUpModel

TESTS = tuple(CallTest((x,), 2 * x) for x in range(3))
PROBLEM = Problem("made/1", "Double it.\n\nf(21) == 42\n", "made", entry_point="f", tests=TESTS)


class Letters:
    """A tokenizer whose tokens are characters, and whose prompts are their messages' text."""

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> list[int]:
        return [ord(letter) for message in messages for letter in message["content"]]

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        return [ord(letter) for letter in text]


class Opinion(MadeUpModel):
    """Believes in programs that multiply: after them True is nine times as likely as False."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.held: list[int] = []

    def logprobs(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> np.ndarray:
        prompt = "".join(map(chr, prompt_ids))
        self.asked.append(prompt)
        true = 0.009 if "* 2" in prompt else 0.001
        return np.log([{"T": true, "F": 0.01 - true}[chr(token)] for token in token_ids])

    def hold_prefixes(self, max_bytes: int) -> None:
        self.held.append(max_bytes)


def test_a_score_is_what_the_words_that_may_reply_are_worth_by_their_probabilities() -> None:
    model = Opinion()
    programs = ["def f(x): return x * 2", "def f(x): return x", "", "def f(x): return x * 2"]
    scores = judged_scores(model, Letters(), TEXT_SCORERS["p-true"], PROBLEM, programs, CODE)
    assert scores == [pytest.approx(0.9), pytest.approx(0.1), None, pytest.approx(0.9)]
    assert len(model.asked) == 4  # two programs, two words
    assert all(PROBLEM.statement.strip() in prompt and "True or False" in prompt for prompt in model.asked)
    assert model.held[0] > 0 and model.held[-1] == 0


def test_nothing_is_held_after_an_error() -> None:
    model = Opinion()
    with pytest.raises(KeyError):
        judged_scores(model, Letters(), TEXT_SCORERS["rating"], PROBLEM, ["pass"], CODE)
    assert model.held[-1] == 0


def test_words_that_begin_alike_are_refused() -> None:
    assert len(first_tokens(Letters(), TEXT_SCORERS["rating"])) == 4
    with pytest.raises(ModelError, match="apart"):
        first_tokens(Letters(), Judgement("?", {"yes": 1.0, "yet": 0.0}))


def test_a_model_that_reads_no_answers_is_refused() -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        judged_scores(MadeUpModel(), Letters(), TEXT_SCORERS["p-true"], PROBLEM, ["pass"], CODE)


def test_printed_examples_are_a_problem_of_their_own_and_refused_without_full_tests() -> None:
    shown = printed_examples(PROBLEM)
    assert shown.tests == (CallTest((21,), 42),) and shown.id != PROBLEM.id
    for kind in ("example", "full-reconstructed", "none"):
        weak = Problem("made/2", PROBLEM.statement, "made", entry_point="f", tests=TESTS, tests_kind=kind)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="kind"):
            printed_examples(weak)
        with pytest.raises(DataError, match="grading tests"):
            check_examples([kind])
    check_examples(["example", "full"])
