"""What an adaptation says of its values: better only where the figures are, and no sentence without a figure."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from guided_gen.adapt_report import card_text, read_worth, worth
from guided_gen.engine.errors import DataError
from guided_gen.engine.models.prompt_form import PromptForm
from guided_gen.valuemodel.card import write_results
from guided_gen.valuemodel.made_for import ValueModelError


def figure(value: float | None, spread: float = 0.05) -> dict[str, float | None]:
    return {"value": value, "low": None if value is None else value - spread, "high": None if value is None else value + spread}


def evaluation(skill: float | None, order: float | None) -> dict[str, Any]:
    ranking = {
        "value": {"brier_skill": figure(skill), "within_problem_auroc": figure(order)},
        "logprob": {"brier_skill": figure(0.1), "within_problem_auroc": figure(0.6)},
    }
    return {"data": {"problems": 30, "mixed_problems": 12}, "ranking": ranking}


EVIDENCE: dict[str, Any] = {
    "bounds": {"random@1": figure(0.15), "oracle": figure(0.4)},
    "arms": {name: {"pass@1": figure(0.2)} for name in ("log-probability", "value", "all", "all but value")},
}


@pytest.mark.parametrize(
    ("skill", "order", "better", "said"),
    [
        (0.3, 0.7, True, "better than log-probability does"),
        (0.3, 0.62, True, "by less than the noise"),
        (0.3, 0.58, True, "no better than log-probability does"),
        (0.3, 0.5, False, "no better than log-probability does"),
        (0.05, 0.7, False, "better than log-probability does"),
        (None, None, False, "nothing is known of how it ranks"),
        (0.3, None, True, "nothing is known of how it ranks"),
    ],
)
def test_better_is_what_the_figures_say(skill: float | None, order: float | None, better: bool, said: str) -> None:
    found = worth(evaluation(skill, order), EVIDENCE)
    assert found.better is better
    text = " ".join(found.sentences)
    assert said in text
    assert ("are better than" in text) is better
    assert all(
        part in text for part in ("30 other problems", "12 of them", "at random 15%", "no choice could do better than 40%")
    )


def test_figures_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_worth(tmp_path / "evaluation.json", tmp_path / "evidence.json")
    broken = copy.deepcopy(EVIDENCE)
    del broken["arms"]["all"]
    for name, figures in (("evaluation.json", evaluation(0.3, 0.7)), ("evidence.json", broken)):
        (tmp_path / name).write_text(json.dumps(figures))
    with pytest.raises(DataError, match="do not hold what was measured"):
        read_worth(tmp_path / "evaluation.json", tmp_path / "evidence.json")


def test_the_card_says_what_was_measured_how_it_was_asked_and_whose_states_were_read(tmp_path: Path) -> None:
    found = worth(evaluation(0.3, 0.7), EVIDENCE)
    text = card_text(found, PromptForm.FOLDED, "vllm")
    assert "no system message" in text
    assert "states that the probe read are those of the torch backend" in text
    assert "torch backend" not in card_text(found, PromptForm.OWN, "torch")
    card = tmp_path / "README.md"
    card.write_text("# A\n\n## Results\n\nNone yet.\n\n## Limits\n\nSome.\n")
    for _ in range(2):
        write_results(tmp_path, text)
    written = card.read_text()
    assert written.count(found.sentences[0]) == 1
    assert "None yet" not in written
    assert written.endswith("## Limits\n\nSome.\n")
    card.write_text("# Another card\n")
    with pytest.raises(ValueModelError, match="no model card of guided-gen"):
        write_results(tmp_path, text)
