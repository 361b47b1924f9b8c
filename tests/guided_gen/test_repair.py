"""Repair: the turn shows what failed, and its answers join the candidates."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guided_gen import Chat, GuidedGenerator, Solution, Solved
from guided_gen.cli.solve_report import as_json, summary
from guided_gen.engine.tree import load_trees
from guided_gen.repair import joined, repairing
from guided_gen.solving import Solving

from .commands import invoke
from .made_up_solutions import DOUBLE, WRONG, candidate, solution

STATEMENT = "Double a number.\n\ndef double(x):\n\ndouble(2) == 4\n"
FAST: dict[str, Any] = {"n": 8, "max_new_tokens": 60, "seed": 0}  # some of these answers end


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")


def solved(solving: Solving) -> Solution:
    return next(event.solution for event in solving if isinstance(event, Solved))


def test_the_turn_shows_the_answer_the_example_what_was_expected_and_what_came(generator: GuidedGenerator) -> None:
    failing = solution(candidate("def double(x): return 5", examples=(1, 2), failure=WRONG))
    turn = repairing(generator.stream(DOUBLE, n=4), failing, 3)
    assert turn is not None and turn.settings.n == 3 and isinstance(turn.asked.question, Chat)
    *_, asked, answer, complaint = turn.asked.question.messages
    assert "Double it." in asked["content"] and answer == {"role": "assistant", "content": failing.best.text}
    assert complaint["role"] == "user"
    assert "call: double(2)\nexpected: 4\ngot: 5\n" in complaint["content"]


@pytest.mark.parametrize(
    ("failing", "settings", "n"),
    [
        (False, {}, 4),
        (True, {}, 0),
        (True, {"budget": 2}, 4),  # which the made-up search has decoded
        (True, {"max_new_tokens": 4000}, 4),  # no room is left for a longer prompt
    ],
)
def test_there_is_no_turn_where_there_is_nothing_to_say_or_no_room(
    failing: bool, settings: dict[str, Any], n: int, generator: GuidedGenerator
) -> None:
    found = solution(candidate("def double(x): return 5", failure=WRONG if failing else None))
    assert repairing(generator.stream(DOUBLE, **settings), found, n) is None


def test_its_answers_join_the_candidates(generator: GuidedGenerator) -> None:
    alone = generator.solve(STATEMENT, **FAST)
    assert alone.best.passes is False
    both = generator.solve(STATEMENT, repair=3, **FAST)
    assert [one.text for one in both.candidates if one.turn == 0] == [one.text for one in alone.candidates]
    assert sum(one.multiplicity for one in both.candidates if one.turn == 1) == 3
    assert both.candidates == sorted(both.candidates, key=lambda one: one.rank, reverse=True)
    assert both.repair is not None and both.decoded_tokens == alone.decoded_tokens + both.repair.decoded_tokens
    assert both.repair.prompt_tokens > alone.prompt_tokens + len(alone.best.token_ids)
    assert len(both._repr_html_()) > len(alone._repr_html_())
    assert asyncio.run(generator.asolve(STATEMENT, repair=3, **FAST)).candidates[0].text == both.candidates[0].text
    for one in both.candidates:
        assert int(both.trees[one.turn].rollouts.multiplicity[one.rollout]) == one.multiplicity


def test_a_repair_that_passes_is_the_answer_and_is_told_as_one() -> None:
    wrong = candidate("def double(x): return 5", examples=(0, 2), failure=WRONG)
    right = candidate("def double(x): return 2 * x", score=-9.0)
    both = joined(solution(wrong), solution(right))
    assert both.best.program == right.program and both.best.turn == 1 and both.passing == 1
    assert "2 candidates (1 of them repairs)" in summary(both)
    assert [one["turn"] for one in json.loads(as_json(both))["candidates"]] == [1, 0]


def test_the_command_repairs_and_saves_both_searches(tiny_folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "trees.parquet"
    options = ("--model", tiny_folder, "--precision", "float32", "--n", 8, "--most", 8, "--max-new-tokens", 60, "--save", saved)
    result = invoke("solve", STATEMENT, "--repair", 2, *options)
    assert "(2 of them repairs)" in result.stderr
    assert len(load_trees(saved)) == 2
    assert "repairs" not in invoke("solve", "Say something nice.", "--repair", 2, *options).stderr
    assert len(load_trees(saved)) == 1
