"""The evaluation as a whole: fitted on a tiny model, its figures in place, its page self-contained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.models.files import model_identity
from guided_gen.valuemodel.evaluation import balanced_counts, evaluate
from guided_gen.valuemodel.fitting import Shape, fit_value_model, load_statement, scored_trees
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import ValueModelMismatch
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.packing import PromptedTree
from guided_gen.valuemodel.report import grids, markdown, plot_all, report_page
from guided_gen.valuemodel.rollout_table import Answer, RolloutTable, rollout_table
from guided_gen.valuemodel.training import TrainingSettings

from .made_up import learnable, tiny_base

MakeTree = Callable[..., PromptedTree]


def read(one: PromptedTree, leaf: int) -> Answer:
    tokens = one.tree.tokens(leaf).tolist()
    return Answer(tuple(f"<{token}>" for token in tokens), (1, len(tokens)) if len(tokens) > 2 else None, tokens[0] == 4)


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tiny_base("qwen2").save_pretrained(folder)
    return folder


def from_base(trees: list[PromptedTree], folder: Path) -> list[PromptedTree]:
    for one in trees:
        one.tree.metadata |= {"model": "tiny", "model_sha256": model_identity(folder).sha256, "precision": "float32"}
    return trees


@pytest.fixture(scope="module")
def evaluated(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RolloutTable, dict[str, Any]]:
    """A probe fitted on rollouts that its states tell apart, evaluated on other problems."""
    folder = tmp_path_factory.mktemp("fit")
    training, validation = from_base(learnable(30), base_folder), from_base(learnable(10, 100), base_folder)
    settings = TrainingSettings(tune="head")
    fit_value_model(training, validation, base_folder, Shape(), settings, folder / "value", folder / "cache")
    scored = scored_trees(folder / "value", base_folder, from_base(learnable(12, 200), base_folder), folder / "cache")
    table = rollout_table(scored, load_statement(folder / "value"), read)
    return table, evaluate(table, scored.model.settings.training["calibration"]["base_rate"], resamples=100)


def test_a_value_model_that_sees_the_cause_beats_every_shortcut(evaluated: tuple[RolloutTable, dict[str, Any]]) -> None:
    _, figures = evaluated
    ranking = figures["ranking"]
    others = [s for s in ranking if s not in ("value", "random", "oracle", "ended-and-parses")]  # that one was told the cause
    for key in ("within_problem_auroc", "global_auroc", "brier_skill"):
        assert ranking["value"][key]["value"] > max(ranking[other][key]["value"] for other in others)
    assert ranking["random"]["pass@1"]["value"] < ranking["value"]["pass@1"]["value"] <= ranking["oracle"]["pass@1"]["value"]
    assert ranking["statement"]["within_problem_auroc"]["value"] == 0.5


def test_shares_and_counts_are_consistent(evaluated: tuple[RolloutTable, dict[str, Any]]) -> None:
    table, figures = evaluated
    assert figures["data"]["rollouts"] == table.counts.sum() == 72
    for data in figures["table_2"]["value"].values():
        for row in data.values():
            assert row["predicted_correct"]["value"] + row["predicted_wrong"]["value"] == pytest.approx(1, abs=1e-3)
    assert sum(figures["figure_1a"]["correct"]) == pytest.approx(1)
    last = figures["figure_2"]["answer"][-1]["scorers"]["value"]["imbalanced"]["value"]
    assert last == figures["table_2"]["value"]["imbalanced"]["0.5"]["accuracy"]["value"]


def test_balanced_counts_have_equal_classes_in_every_mixed_problem(evaluated: tuple[RolloutTable, dict[str, Any]]) -> None:
    table, _ = evaluated
    counts = balanced_counts(table)
    for problem in range(len(table.names)):
        right, wrong = (counts[(table.problem == problem) & (table.correct == label)].sum() for label in (True, False))
        assert right == pytest.approx(wrong) or not right or not wrong
    assert (counts >= table.counts - 1e-9).all()


def test_scores_part_of_the_way_are_those_along_the_path(evaluated: tuple[RolloutTable, dict[str, Any]]) -> None:
    table, _ = evaluated
    after_two = table.scores("value", np.full(len(table), 2))
    assert after_two.tolist() == [trace[1] for trace in table.traces["value"]]
    beyond = table.scores("value", np.full(len(table), 1000))
    assert beyond.tolist() == [trace[-1] for trace in table.traces["value"]]


def test_a_model_that_is_asked_speaks_at_the_end_alone(base_folder: Path, tmp_path: Path) -> None:
    training, test = from_base(learnable(6), base_folder), from_base(learnable(4, 200), base_folder)
    fit_value_model(training, test, base_folder, Shape(), TrainingSettings(tune="head"), tmp_path / "value", tmp_path)

    def ask(one: PromptedTree, answers: Sequence[Answer]) -> list[float]:
        return [len(answer.pieces) / 100 for answer in answers]

    scored = scored_trees(tmp_path / "value", base_folder, test, tmp_path)
    table = rollout_table(scored, load_statement(tmp_path / "value"), read, ask)
    assert table.scores("p-true", table.lengths).tolist() == (table.lengths / 100).tolist()
    assert not any(table.traces["p-true"][row][:-1].any() for row in range(len(table)))


def test_the_report_is_json_and_one_self_contained_page(evaluated: tuple[RolloutTable, dict[str, Any]], tmp_path: Path) -> None:
    _, figures = evaluated
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    plots = plot_all(figures, tmp_path)
    assert len(plots) == 4 and all(path.read_bytes().startswith(b"\x89PNG") for path in plots)
    told = figures | {"about": {"value model": "<tiny>"}}
    page, text = report_page(told, plots), markdown(told, plots)
    assert all(f"]({path.name})" in text for path in plots) and all(f"## {grid.title}" in text for grid in grids(figures))
    assert "&lt;tiny&gt;" in page and "<tiny>" not in page
    assert page.count("data:image/png;base64,") == 4 and "://" not in page
    for grid in grids(figures):
        assert all(len(cells) == len(grid.columns) for _, cells in grid.rows)


def test_trees_of_another_base_are_refused_before_anything_is_computed(base_folder: Path, tmp_path: Path) -> None:
    training, validation = learnable(4), learnable(2, 100)
    with pytest.raises(ValueModelMismatch, match="base model"):
        fit_value_model(training, validation, base_folder, Shape(), TrainingSettings(), tmp_path / "value", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_problem_on_both_sides_is_refused(base_folder: Path, tmp_path: Path) -> None:
    trees = from_base(learnable(4), base_folder)
    with pytest.raises(SettingsError, match="validation"):
        fit_value_model(trees, trees[:2], base_folder, Shape(), TrainingSettings(), tmp_path / "value")


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_tuned_tails_are_fitted_and_come_back_from_their_folder(base_folder: Path, tmp_path: Path, tune: Any) -> None:
    training, validation = from_base(learnable(10), base_folder), from_base(learnable(5, 100), base_folder)
    shape = Shape(head=HeadSettings(("last", "logprob")), lora_rank=2)
    settings = TrainingSettings(tune=tune, epochs=1)
    model, history = fit_value_model(training, validation, base_folder, shape, settings, tmp_path / "value", tmp_path / "cache")
    assert (model.settings.fork_layer, model.settings.tail_layers) == (2, 2)
    assert len(history.validation) == 2 and model.settings.training["steps"] == len(history.training)
    again = ValueModel.from_pretrained(tmp_path / "value", base_folder)
    assert json.loads(json.dumps(model.settings.training)) == again.settings.training
    assert all((again.state_dict()[name] == tensor).all() for name, tensor in model.state_dict().items())
