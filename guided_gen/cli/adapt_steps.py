"""The commands that an adaptation consists of, and running them one after the other, each once.

    DIR/plan.json, *.txt     what is going to be done (adapt_plan.py)
    DIR/data/PART            datasets of guided-gen build, with executions
    DIR/value                the value model, with its evidence model
    DIR/evaluation, evidence reports on the held-out problems
    DIR/log.txt              the tables that the commands print
    DIR/done.json            the seconds of each step that is done, and how often the command was begun

Each command goes on where it stopped; one that is done is not run again.
"""

from __future__ import annotations

import json
import time
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..adapt_plan import HELD_OUT, MOST_PROMPT, PARTS, ROLLOUTS, TRAINING, VALIDATION, Plan
from ..engine.errors import DataError
from ..engine.files import write_atomically
from .recipe import Step

VALUE, EVALUATION, EVIDENCE = "value", "evaluation", "evidence"
_DONE, LOG = "done.json", "log.txt"
_DRAWS = 20  # of ten answers a problem, that all kinds of evidence rank


def build_step(out: Path, asked: dict[str, Any], part: str, split: str | None) -> Step:
    """`guided-gen build` of a part, of all its problems: `only` is added by `steps`."""
    shared = (
        "problems",
        "model",
        "precision",
        "backend",
        "vllm",
        "max-new-tokens",
        "batch",
        "judge-workers",
        "isolation",
        "seed",
    )
    options = {name: asked[name.replace("-", "_")] for name in shared}
    options |= {"split": split, "independent": ROLLOUTS, "max-prompt-tokens": MOST_PROMPT, "out": data_folder(out, part)}
    return Step(("build",), options)


def data_folder(out: Path, part: str) -> Path:
    return out / "data" / part


def steps(out: Path, plan: Plan, layer: int) -> dict[str, Step]:
    """The commands by the names of `plan.seconds`, in order. `layer`: the one that the probe reads."""
    data = {part: data_folder(out, part) for part in PARTS}
    value = out / VALUE
    common = {"model": plan.asked["model"], "problems": plan.asked["problems"]}
    made: dict[str, Step] = {}
    for part in PARTS:
        step = build_step(out, plan.asked, part, plan.splits[part])
        made[f"answers, {part}"] = replace(step, options=step.options | {"only": out / f"{part}.txt"})
    made["running programs"] = Step(("dataset", "execute"), common | {"arguments": list(data.values())})
    training = {"data": data[TRAINING], "validation": data[VALIDATION], "tune": "head", "fork-layer": layer, "out": value}
    made["training"] = Step(("train",), common | training | {"seed": plan.asked["seed"]})
    fitted = {"calibrate": data[VALIDATION], "value": value, "n": ROLLOUTS}
    made["fitting evidence"] = Step(
        ("bench", "fit-evidence"), common | fitted | {"out": value / "evidence.json", "arguments": [data[TRAINING]]}
    )
    evaluation = {"value": value, "data": data[HELD_OUT], "best-of": ROLLOUTS, "out": out / EVALUATION}
    made["evaluating"] = Step(("evaluate",), common | evaluation)
    ranked = fitted | {"data": data[TRAINING], "resamples": _DRAWS, "out": out / EVIDENCE, "arguments": [data[HELD_OUT]]}
    made["evaluating evidence"] = Step(("bench", "evidence"), common | ranked)
    return made


@dataclass
class Done:
    """What is done in a folder: `seconds` by step; `starts`: how often the command was begun."""

    folder: Path
    seconds: dict[str, float]
    starts: int

    @classmethod
    def load(cls, folder: Path) -> Done:
        try:
            known = json.loads((folder / _DONE).read_text(encoding="utf-8"))
            return cls(folder, known["seconds"], known["starts"])
        except (OSError, ValueError, KeyError):
            return cls(folder, {}, 0)

    def begin(self) -> None:
        self.starts += 1
        self._save()

    def add(self, step: str, seconds: float) -> None:
        self.seconds[step] = seconds
        self._save()

    def _save(self) -> None:
        write_atomically(self.folder / _DONE, json.dumps({"seconds": self.seconds, "starts": self.starts}, indent=1) + "\n")


def run_steps(made: dict[str, Step], plan: Plan, done: Done, out: Path) -> None:
    """Run what is not done; say before each step what it is, and how long it and all that follow will take. What the commands
    print goes to a file.
    """
    from . import cli

    for number, (name, step) in enumerate(made.items(), 1):
        if name in done.seconds:
            continue
        left = sum(plan.seconds[later] for later in list(made)[number - 1 :])
        told = f"[{number}/{len(made)}] {name}: about {minutes(plan.seconds[name])}; {minutes(left)} left"
        click.echo(f"{told}\n  guided-gen {' '.join(step.arguments())}", err=True)
        start = time.perf_counter()
        with (out / LOG).open("a", encoding="utf-8") as log, redirect_stdout(log):
            try:
                cli.main(step.arguments(), prog_name="guided-gen", standalone_mode=False)
            except DataError as error:
                hint = "more --hours with another --out, or problems that it solves now and then, would give more to learn from"
                raise DataError(f"{name}: {error}; {hint}") from None
        done.add(name, time.perf_counter() - start)


def minutes(seconds: float) -> str:
    """As people say it: seconds below two minutes, hours from two hours on."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
