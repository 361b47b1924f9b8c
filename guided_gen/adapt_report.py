"""What an adaptation is worth, in words: from the figures of `guided-gen evaluate` and `bench evidence` on held-out problems.

Values are better than mean log-probability if they are the better probabilities, by the Brier skill, which punishes both wrong
order and wrong confidence, and do not rank one problem's answers worse by more than the noise of so few problems.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapt_plan import ROLLOUTS, Plan
from .engine.errors import DataError
from .engine.models.prompt_form import PromptForm
from .engine.scorers import LOGPROB, VALUE


@dataclass(frozen=True)
class Worth:
    """`better`: than mean log-probability. `sentences`: what it is worth, and what not."""

    better: bool
    sentences: list[str]


def read_worth(evaluation: Path, evidence: Path) -> Worth:
    """Raises DataError for anything but what the two commands wrote."""
    try:
        found = [json.loads(path.read_text(encoding="utf-8")) for path in (evaluation, evidence)]
        return worth(*found)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{evaluation} and {evidence} do not hold what was measured: {error!r}") from error


def worth(evaluation: Mapping[str, Any], evidence: Mapping[str, Any]) -> Worth:
    """`evaluation`: as `valuemodel.evaluation.evaluate`; `evidence`: as `benchmarks.evidence.evidence_figures`."""
    value, logprob = evaluation["ranking"][VALUE], evaluation["ranking"][LOGPROB]
    skills = [_number(one["brier_skill"]) for one in (value, logprob)]
    order, other = (one["within_problem_auroc"] or {"value": None} for one in (value, logprob))
    better = _larger(skills[0], skills[1]) and not _larger(other["value"], order.get("high", order["value"]))
    data, bounds, arms = evaluation["data"], evidence["bounds"], evidence["arms"]
    chosen = {
        "at random": bounds["random@1"],
        "by mean log-probability": arms["log-probability"]["pass@1"],
        "by the value": arms["value"]["pass@1"],
        "by all that running them tells": arms["all but value"]["pass@1"],
        "by running them and the value": arms["all"]["pass@1"],
    }
    percent = ", ".join(f"{name} {_percent(one)}" for name, one in chosen.items())
    sentences = [
        f"The values are {'better' if better else 'no better'} than mean log-probability on {data['problems']} other problems, "
        f"{data['mixed_problems']} of them with correct and wrong answers.",
        f"The one of {ROLLOUTS} answers that is chosen is correct: {percent}; no choice could do better than "
        f"{_percent(bounds['oracle'])}.",
        f"As probabilities the values tell {_share(skills[0])} of what is uncertain about an answer (the Brier skill), mean "
        f"log-probability {_share(skills[1])}.",
        _order_in_words(order, other["value"]),
        "It is made for these weights, this precision and these prompts, and is refused with others. Its probabilities are those "
        "of passing the tests of problems like these; on others they may be too high or too low.",
    ]
    return Worth(better, sentences)


def _order_in_words(value: Mapping[str, float | None], logprob: float | None) -> str:
    if value["value"] is None or logprob is None:
        return "No problem had correct and wrong answers, so nothing is known of how it ranks the answers to one problem."
    if _larger(value["low"], logprob):
        said = "better than log-probability does"
    elif value["value"] > logprob:
        said = "a little better than log-probability does, by less than the noise of so few problems"
    else:
        said = "no better than log-probability does"
    interval = "" if value["low"] is None else f" [{value['low']:.2f}, {value['high']:.2f}]"
    return f"It ranks the answers to one problem {said}: AUROC {value['value']:.2f}{interval} beside {logprob:.2f}."


def card_text(worth: Worth, form: PromptForm, backend: str) -> str:
    """What the model card says under Results."""
    prompts = f"Prompts are in {form}."
    states = (
        " The answers are vLLM's; the states that the probe read are those of the torch backend." if backend == "vllm" else ""
    )
    return "\n\n".join(["Measured by `guided-gen adapt`.", *worth.sentences, prompts + states])


def time_text(plan: Plan, seconds: Mapping[str, float], starts: int) -> str:
    """The estimate beside what it took."""
    expected, took = sum(plan.seconds.values()), sum(seconds.values())
    text = f"The estimate was {expected / 60:.1f} minutes, and it took {took / 60:.1f} ({took / expected:.0%} of it)"
    if starts > 1:
        text += f", in {starts} starts; what was interrupted counts from its last start"
    steps = ", ".join(f"{name} {plan.seconds[name]:.0f} and {seconds[name]:.0f}" for name in plan.seconds if name in seconds)
    return f"{text}. In seconds, estimate and fact: {steps}."


def _larger(one: float | None, other: float | None) -> bool:
    """Whether it is known to be larger."""
    return one is not None and other is not None and one > other


def _number(cell: Mapping[str, float | None] | None) -> float | None:
    return None if cell is None else cell["value"]


def _percent(cell: Mapping[str, float | None] | None) -> str:
    number = _number(cell)
    return "unknown" if number is None else f"{number:.0%}"


def _share(number: float | None) -> str:
    return "an unknown part" if number is None else f"{number:.0%}"
