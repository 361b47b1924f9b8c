"""Plans: parts that share no problem, as many as fit into the time, and the same again whoever goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guided_gen.adapt_plan import HELD_OUT, PARTS, TRAINING, VALIDATION, Part, Plan, Speed, made_plan, problem_parts
from guided_gen.adapt_speed import LEAST, Meter
from guided_gen.data_builder.builder import BuildProgress
from guided_gen.data_builder.problems.problem import Problem
from guided_gen.engine.errors import SettingsError
from guided_gen.engine.models.tokenizer_loading import load_tokenizer

from .commands import write_problems

SPEED = Speed(load=2, extra=5, build=3, run=0.5, read=0.5, fit=10)
ASKED = {"model": "m", "model_sha256": "0", "precision": "int8", "problems": "apps", "difficulty": "easy", "hours": 1.0} | {
    "max_new_tokens": 512,
    "seed": 0,
}


def part(split: str | None, count: int) -> Part:
    return Part(split, [Problem(f"{split}/{i}", "x", "made") for i in range(count)])


def plan(hours: float, training: int = 1000, others: int = 100, built: tuple[str, ...] = ("train/3", "train/0")) -> Plan:
    return made_plan(ASKED | {"hours": hours}, part("train", training), part("validation", others), built, SPEED, 60, hours)


@pytest.mark.parametrize("hours", [0.2, 0.5, 1, 3])
def test_a_plan_fills_its_time_and_no_more(hours: float) -> None:
    made = plan(hours)
    total = made.measured + sum(made.seconds.values())
    full = len(made.ids[TRAINING]) == 1000
    assert total <= hours * 3600
    assert full or total >= 0.9 * hours * 3600
    ids = [one for name in PARTS for one in made.ids[name]]
    assert len(set(ids)) == len(ids)
    assert {"train/3", "train/0"} <= set(made.ids[TRAINING])
    assert abs(len(made.ids[VALIDATION]) - len(made.ids[HELD_OUT])) <= 1


def test_time_for_too_few_problems_is_told_with_a_time_that_is_enough() -> None:
    with pytest.raises(SettingsError, match=r"are enough for \d+ problems here.* or --hours 0\.\d+$") as caught:
        plan(0.05)
    assert plan(float(str(caught.value).rpartition(" ")[2])).ids[HELD_OUT]


def test_whoever_goes_on_follows_the_plan(tmp_path: Path) -> None:
    made = plan(1.0)
    assert Plan.load(tmp_path, ASKED) is None
    made.save(tmp_path)
    assert Plan.load(tmp_path, ASKED) == made
    elsewhere = ASKED | {"model": "moved"}
    assert Plan.load(tmp_path, elsewhere) == replace(made, asked=elsewhere)
    assert (tmp_path / "held-out.txt").read_text().splitlines() == made.ids[HELD_OUT]
    with pytest.raises(SettingsError, match=r"planned with hours 1.0, not 2.0: .* --out"):
        Plan.load(tmp_path, ASKED | {"hours": 2.0})
    (tmp_path / "plan.json").write_text("[")
    with pytest.raises(SettingsError, match="is no plan"):
        Plan.load(tmp_path, ASKED)


def test_problems_without_splits_are_parted_and_unfit_ones_left_out(tiny_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    questions = [f"Write f(x) that adds {i}." for i in range(40)]
    write_problems(path, [*questions, "long " * 2000], ("easy", "hard"), inputs=[[1], [2], [3]], outputs=[2, 3, 4])
    tokenizer = load_tokenizer(tiny_folder)
    training, others = problem_parts(str(path), "easy", tokenizer, seed=0)
    ids = [problem.id for one in (training, others) for problem in one.problems]
    assert len(set(ids)) == len(ids) == 20
    assert training.split is None
    assert 8 <= len(training.problems) <= 18
    write_problems(path, questions, inputs=[[1]], outputs=[2])
    with pytest.raises(SettingsError, match="holds no problems to learn from: of difficulty introductory"):
        problem_parts(str(path), "introductory", tokenizer, 0)


def test_problems_that_say_no_difficulty_are_all_taken(tiny_folder: Path, tmp_path: Path) -> None:
    questions = [f"Write f(x) that adds {i}." for i in range(12)]
    path = write_problems(tmp_path / "problems.jsonl", questions, ("",), inputs=[[1], [2], [3]], outputs=[2, 4, 6])
    parts = problem_parts(str(path), "introductory", load_tokenizer(tiny_folder), seed=0)
    assert sum(len(part.problems) for part in parts) == 12


def test_a_meter_takes_the_speed_from_a_full_batch() -> None:
    """100 tokens a second with a full batch; 2 s to fill it and 4 s to run empty, at a tenth of that."""
    meter = Meter(seconds=5, batch=10)
    tokens = 0
    for second in range(17):
        live = 10 if 2 <= second <= 12 else 1
        tokens += 100 if 3 <= second <= 12 else 10
        done = {"independent": 2 * second}
        meter.add(BuildProgress(done, 0, 0, tokens, float(second), live, 1))
    build, extra = meter.problem_and_extra()
    assert build == pytest.approx(tokens / 100 / 32)
    assert build * 32 + extra == pytest.approx(16)
    assert len(list(meter.begun([Problem(str(i), "x", "made") for i in range(50)]))) == LEAST
