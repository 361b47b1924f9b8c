"""What `guided-gen adapt` is going to do: which problems, how many answers, how long; fixed once, and kept on disk.

Problems come in three parts that share none: a value model is trained on the first, calibrated on the second, and measured on the
third. How many fit into the time is told by what a few of them took on this machine. Whoever goes on with a folder follows its
plan, so that what comes of it does not depend on how often it was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .data_builder.build_settings import build_order
from .data_builder.problems.loaders import load_problems
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import DEFAULT_TEMPLATE, prompt_ids
from .data_builder.problems.quality import skip_reason
from .engine.errors import ContextError, SettingsError
from .engine.files import write_atomically

PLAN = "plan.json"
TRAINING, VALIDATION, HELD_OUT = "training", "validation", "held-out"
PARTS = (TRAINING, VALIDATION, HELD_OUT)
ROLLOUTS = 10
"""Answers to each problem: what best of ten is measured on."""
MOST_PROMPT = 1024
_PINNED = ("model_sha256", "precision", "problems", "difficulty", "hours", "max_new_tokens", "seed")
"""Settings that a plan is made with; others may change when it goes on."""
_HELD_SHARE = 0.35  # of the problems: calibrating and measuring take as many as learning whether anything was learnt
_LEAST = {TRAINING: 4, VALIDATION: 3, HELD_OUT: 3}
_KEPT_BACK = 0.95  # of the time


@dataclass(frozen=True)
class Part:
    """Problems of one split, in the order in which they are taken."""

    split: str | None
    problems: Sequence[Problem]


@dataclass(frozen=True)
class Speed:
    """What a few problems took here, in seconds: to `load` the model; `extra` for a build to fill its batch and to run empty; for
    each problem to `build` its answers, to `run` their programs, and to `read` its tree; `fit`: of a step, beside its reading.
    """

    load: float
    extra: float
    build: float
    run: float
    read: float
    fit: float

    @property
    def problem(self) -> float:
        return self.build + self.run + self.read


@dataclass(frozen=True)
class Plan:
    """`asked`: the command's settings. `splits` and `ids` by part. `seconds`: the estimate of each step. `measured`: what the
    estimate itself took, in seconds.
    """

    asked: dict[str, Any]
    splits: dict[str, str | None]
    ids: dict[str, list[str]]
    seconds: dict[str, float]
    measured: float
    speed: dict[str, float] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """The plan, and for each part a file of ids."""
        for part in PARTS:
            write_atomically(folder / f"{part}.txt", "".join(f"{one}\n" for one in self.ids[part]))
        write_atomically(folder / PLAN, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path, asked: dict[str, Any]) -> Plan | None:
        """The plan in `folder`, if there is one, for what is asked now. Raises SettingsError where it is of another request."""
        try:
            plan = cls(**json.loads((folder / PLAN).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{folder / PLAN} is no plan of guided-gen adapt: {error}") from None
        for name in _PINNED:
            if plan.asked.get(name) != asked[name]:
                raise SettingsError(
                    f"{folder} was planned with {name} {plan.asked.get(name)!r}, not {asked[name]!r}: name another one with --out"
                )
        return replace(plan, asked=asked)


def problem_parts(source: str, difficulty: str, tokenizer: Any, seed: int) -> tuple[Part, Part]:
    """(for training, for what follows) of `source`: its splits train and validation, where it has them, else two parts of all.

    Only what can be judged and whose prompt is not too long; of problems that say how difficult they are, those of `difficulty`.
    Raises SettingsError, DataError.
    """
    try:
        found = [Part(split, load_problems(source, split)) for split in ("train", "validation")]
    except SettingsError:
        ordered = build_order(load_problems(source), seed)
        cut = round(len(ordered) * (1 - _HELD_SHARE))
        found = [Part(None, ordered[:cut]), Part(None, ordered[cut:])]
    training, others = (Part(one.split, build_order(_fit(one.problems, difficulty, tokenizer), seed)) for one in found)
    if not training.problems:
        raise SettingsError(
            f"{source} holds no problems to learn from: of difficulty {difficulty}, with tests that can judge, and with a prompt "
            f"of at most {MOST_PROMPT} tokens"
        )
    return training, others


def _fit(problems: Sequence[Problem], difficulty: str, tokenizer: Any) -> list[Problem]:
    def fits(problem: Problem) -> bool:
        if problem.difficulty not in ("", difficulty) or skip_reason(problem) is not None:
            return False
        try:
            prompt_ids(tokenizer, problem, DEFAULT_TEMPLATE, MOST_PROMPT)
        except ContextError:
            return False
        return True

    return [problem for problem in problems if fits(problem)]


def made_plan(
    asked: dict[str, Any], training: Part, others: Part, built: Sequence[str], speed: Speed, spent: float, hours: float
) -> Plan:
    """The plan that fills `hours`, of which `spent` seconds are gone; `built`: ids of the training problems that are done.

    Raises SettingsError where the time is for fewer problems than anything can be learnt from.
    """
    left = hours * 3600 * _KEPT_BACK - spent - fixed_seconds(speed) + len(built) * speed.problem
    affordable = int(left / speed.problem) if left > 0 else 0
    held = min(len(others.problems), round(affordable * _HELD_SHARE))
    sizes = {VALIDATION: held // 2, HELD_OUT: held - held // 2}
    sizes[TRAINING] = max(min(len(training.problems), affordable - held), len(built))
    lacking = [part for part in PARTS if sizes[part] < _LEAST[part]]
    if lacking:
        needed = (spent + fixed_seconds(speed) + sum(_LEAST.values()) * 2 * speed.problem) / 3600 / _KEPT_BACK
        raise SettingsError(
            f"{hours:g} hours are enough for {affordable} problems here, of which {sizes[lacking[0]]} would be for {lacking[0]}: "
            f"give more problems, or --hours {max(needed, hours * 1.5):.2g}"
        )
    first = [problem.id for problem in training.problems]
    chosen = dict.fromkeys([*built, *first])
    ids = {TRAINING: list(chosen)[: sizes[TRAINING]]}
    rest = [problem.id for problem in others.problems]
    ids |= {VALIDATION: rest[: sizes[VALIDATION]], HELD_OUT: rest[sizes[VALIDATION] : held]}
    splits = {TRAINING: training.split, VALIDATION: others.split, HELD_OUT: others.split}
    return Plan(asked, splits, ids, step_seconds(speed, ids, len(built)), spent, asdict(speed))


def fixed_seconds(speed: Speed) -> float:
    """What the steps take whatever the number of problems."""
    return sum(step_seconds(speed, {part: [] for part in PARTS}, 0).values())


def step_seconds(speed: Speed, ids: dict[str, list[str]], built: int) -> dict[str, float]:
    """The estimate of each step, by its name."""
    count = {part: len(ids[part]) for part in PARTS} | {TRAINING: max(len(ids[TRAINING]) - built, 0)}
    seconds = {f"answers, {part}": speed.load + speed.extra + count[part] * speed.build for part in PARTS}
    return seconds | {
        "running programs": sum(count.values()) * speed.run,
        "training": speed.load + (count[TRAINING] + count[VALIDATION]) * speed.read + speed.fit,
        "fitting evidence": speed.fit,
        "evaluating": speed.load + count[HELD_OUT] * speed.read + speed.fit,
        "evaluating evidence": speed.fit,
    }
