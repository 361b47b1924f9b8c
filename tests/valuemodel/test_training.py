"""Training: the packed loss is the flat loss, an interrupted training is the same training, and losses fall."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.engine.errors import DataError, SettingsError
from guided_gen.engine.tree import Tree
from guided_gen.valuemodel.base_layers import shared_states
from guided_gen.valuemodel.examples import Example, check_trees, join_examples, make_examples
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import MadeFor
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.packing import PromptedTree, pack_tree
from guided_gen.valuemodel.state_cache import pack_key
from guided_gen.valuemodel.training import TrainingSettings, batch_loss, calibrate, rate_at, train, validation_loss

from .made_up import VOCABULARY, learnable

MakeTree = Callable[..., PromptedTree]
HEAD = HeadSettings(("last", "mean", "logprob"))


def states_of(base: Any, examples: list[Example], layer: int) -> dict[str, torch.Tensor]:
    return {example.key: shared_states(base, example.pack, [layer])[0].clone() for example in examples}


def gradients(model: ValueModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("balanced", [False, True])
def test_gradients_of_the_packed_loss_equal_those_of_one_rollout_a_row(base: Any, make_tree: MakeTree, balanced: bool) -> None:
    """By definition: every copy of a rollout is a sequence of its own with its own label; its tokens share its weight."""
    torch.manual_seed(0)
    model = ValueModel.from_base(base, 2, HEAD)
    torch.nn.init.normal_(model.head.project.weight, std=0.1)
    trees = [make_tree(seed, longest=15) for seed in (1, 2)]
    examples = make_examples(trees, balanced=balanced)
    batch = join_examples(examples, states_of(base, examples, 2))
    packed_loss = batch_loss(model(batch.states, batch.pack, batch.mean_logprob), batch)
    packed = gradients(model, packed_loss)

    flat_loss = torch.zeros(())
    for one in trees:
        tree = one.tree
        copies = [row for row, count in enumerate(tree.rollouts.multiplicity) for _ in range(count)]
        correct = {row: tree.verdicts[row] == "passed" for row in copies}
        size = {label: sum(correct[row] == label for row in copies) for label in (True, False)}
        for row in copies:
            alone = Tree.below(one.prompt_ids)
            for node in tree.path(int(tree.rollouts.leaf[row])).tolist():
                alone.add_node(len(alone) - 1, int(tree.nodes.token_id[node]), logprob=tree.nodes.logprob[node])
            pack = pack_tree(alone, one.prompt_ids)
            mean_logprob = torch.from_numpy(alone.logprob_sum / alone.depth).float()
            logits = model(shared_states(base, pack, [2])[0].clone(), pack, mean_logprob)
            losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(correct[row])))
            flat_loss = flat_loss + losses * (1 / (2 * size[correct[row]]) if balanced else 1 / len(copies))
    flat = gradients(model, flat_loss / len(trees))
    assert packed_loss.item() == pytest.approx(flat_loss.item() / len(trees), rel=1e-5)
    assert packed.keys() == flat.keys() and packed
    for name, gradient in packed.items():
        assert torch.allclose(gradient, flat[name], atol=1e-5, rtol=1e-3), name


def setting(base: Any, layer: int = 3) -> tuple[list[Example], list[Example], dict[str, torch.Tensor]]:
    training, validation = make_examples(learnable(24)), make_examples(learnable(8, 100), independent=True)
    return training, validation, states_of(base, training + validation, layer)


@pytest.mark.parametrize("tune", ["full", "lora", "head"])
def test_training_learns_what_can_be_learnt(qwen: Any, tmp_path: Path, tune: str) -> None:
    layer = 4 if tune == "head" else 3
    training, validation, states = setting(qwen, layer)
    model = ValueModel.from_base(qwen, layer, HEAD, lora_rank=4 if tune == "lora" else 0)
    constant = validation_loss(model, validation, states)
    settings = TrainingSettings(tune=tune, epochs=15, batch_tokens=150, learning_rate=3e-3)  # type: ignore[arg-type]
    train(model, training, validation, states, settings, tmp_path)
    assert validation_loss(model, validation, states) < 0.8 * constant


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_a_resumed_training_equals_an_uninterrupted_one(qwen: Any, tmp_path: Path, lora_rank: int) -> None:
    """Interrupted between two checkpoints, gone on from the last one with a model that knows nothing."""
    training, validation, states = setting(qwen)
    settings = TrainingSettings(
        tune="lora" if lora_rank else "full", epochs=3, batch_tokens=200, validate_every=4, learning_rate=1e-3
    )

    def fresh() -> ValueModel:
        torch.manual_seed(5)
        return ValueModel.from_base(qwen, 3, HEAD, lora_rank=lora_rank)

    whole = fresh()
    whole_history = train(whole, training, validation, states, settings, tmp_path / "whole")
    train(fresh(), training, validation, states, settings, tmp_path / "parts", stop_after=6)
    resumed = fresh()
    resumed_history = train(resumed, training, validation, states, settings, tmp_path / "parts")
    assert len(whole_history.training) > 8 and whole_history == resumed_history
    for (name, one), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_checkpoint_of_other_settings_or_data_is_refused(qwen: Any, tmp_path: Path) -> None:
    training, validation, states = setting(qwen)
    settings = TrainingSettings(batch_tokens=200, validate_every=1, fit_head_first=False)
    train(ValueModel.from_base(qwen, 3), training, validation, states, settings, tmp_path, stop_after=2)
    with pytest.raises(DataError, match="other data:"):
        train(ValueModel.from_base(qwen, 3), training[:-1], validation, states, settings, tmp_path)
    with pytest.raises(DataError, match="other validation:"):
        train(ValueModel.from_base(qwen, 3), training, validation[:-1], states, settings, tmp_path)
    other = TrainingSettings(batch_tokens=200, validate_every=1, fit_head_first=False, learning_rate=1.0)
    with pytest.raises(DataError, match="learning_rate"):
        train(ValueModel.from_base(qwen, 3), training, validation, states, other, tmp_path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fork_layer", {"fork_layer": 2, "tail_layers": 1}),
        ("tail_layers", {"tail_layers": 0}),
        ("head", {"head": HeadSettings(("last",))}),
        ("head", {"head": HeadSettings(HEAD.features, hidden=2)}),
        ("lora_rank", {"lora_rank": 2}),
        ("made_for", {"made_for": MadeFor(model_sha256="another")}),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(qwen: Any, tmp_path: Path, name: str, change: dict[str, Any]) -> None:
    """Also where its weights would fit."""
    training, validation, states = setting(qwen)
    settings = TrainingSettings(batch_tokens=200, validate_every=1, fit_head_first=False)
    train(ValueModel.from_base(qwen, 3, HEAD), training, validation, states, settings, tmp_path, stop_after=1)
    other = ValueModel.from_base(qwen, **{"fork_layer": 3, "head": HEAD, **change})
    with pytest.raises(DataError, match=f"other {name}:"):
        train(other, training, validation, states, settings, tmp_path)


@given(st.integers(1, 500))
def test_the_learning_rate_rises_to_its_height_and_falls(steps: int) -> None:
    rates = [rate_at(step, steps) for step in range(1, steps + 1)]
    top = rates.index(1.0)
    assert min(rates) > 0 and max(rates) == 1.0
    assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert top <= steps / 10 and rates[-1] <= 2 / steps


def test_training_ends_early_with_its_best_weights(qwen: Any, tmp_path: Path) -> None:
    """At an absurd learning rate nothing beats the fitted head: it is what remains."""
    training, validation, states = setting(qwen)
    model = ValueModel.from_base(qwen, 3, HEAD)
    settings = TrainingSettings(epochs=50, batch_tokens=100, learning_rate=1.0, validate_every=1, patience=2)
    history = train(model, training, validation, states, settings, tmp_path)
    assert history.training[-1][0] == 2
    assert validation_loss(model, validation, states) == pytest.approx(history.validation[0][1], rel=1e-6)


def test_the_shared_layers_and_the_base_are_never_changed(qwen: Any, tmp_path: Path) -> None:
    before = copy.deepcopy(qwen.state_dict())
    training, validation, states = setting(qwen)
    train(ValueModel.from_base(qwen, 3), training, validation, states, TrainingSettings(epochs=1), tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in qwen.state_dict().items())


def test_lora_changes_no_base_weight(qwen: Any, tmp_path: Path) -> None:
    training, validation, states = setting(qwen)
    model = ValueModel.from_base(qwen, 3, lora_rank=2)
    train(model, training, validation, states, TrainingSettings(tune="lora", epochs=1, learning_rate=0.01), tmp_path)
    layer = qwen.get_decoder().layers[3]
    tuned = model.tail.layers[0].state_dict()
    assert torch.equal(tuned["mlp.up_proj.base_layer.weight"], layer.mlp.up_proj.weight)
    assert tuned["mlp.up_proj.lora_B.default.weight"].abs().sum() > 0


def test_calibration_leaves_the_mean_value_at_the_base_rate(qwen: Any) -> None:
    _, validation, states = setting(qwen, 4)
    model = ValueModel.from_base(qwen, 4, HEAD)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.head.project.weight)
    calibrate(model, validation, states)
    batch = join_examples(validation, states)
    values = model.values(batch.states, batch.pack, batch.mean_logprob)
    share = batch.weights / batch.weights.sum()
    assert float((values * share).sum()) == pytest.approx(float((batch.labels * share).sum()), abs=1e-2)


def test_equal_problems_weigh_the_same_however_many_trees_they_have(make_tree: MakeTree) -> None:
    one, other = make_tree(1), make_tree(2)
    again = PromptedTree(make_tree(3).tree, make_tree(3).prompt_ids, one.problem)
    sums: dict[str, float] = {}
    for example in make_examples([one, other, again]):
        sums[example.problem] = sums.get(example.problem, 0.0) + float(example.weights.sum())
    assert sums == pytest.approx({one.problem: 1.0, other.problem: 1.0})


def test_a_pack_key_tells_trees_apart(make_tree: MakeTree) -> None:
    packs = [pack_tree(make_tree(seed).tree, make_tree(seed).prompt_ids) for seed in (1, 1, 2)]
    keys = [pack_key(pack) for pack in packs]
    assert keys[0] == keys[1] != keys[2]


def broken(tree: PromptedTree, how: str) -> list[PromptedTree]:
    if how == "NaN":
        tree.tree.nodes.logprob[2] = np.nan
    elif how == "empty":
        tree = PromptedTree(Tree.below(tree.prompt_ids, tree.tree.metadata), tree.prompt_ids, tree.problem)
    elif how == "mixed models":
        tree.tree.metadata["model_sha256"] = "another"
    elif how == "unknown token":
        tree.tree.nodes.token_id[1] = VOCABULARY
    elif how in ("one class", "unjudged"):
        tree.tree.verdicts = ["passed" if how == "one class" else None] * len(tree.tree.verdicts)
        return [tree]
    elif how == "nothing":
        return []
    return [tree]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("NaN", "log-probabilities"),
        ("empty", "empty"),
        ("mixed models", "different generators"),
        ("unknown token", "token 48"),
        ("one class", "all judged rollouts are correct"),
        ("unjudged", "judged"),
        ("nothing", "no trees"),
    ],
)
def test_bad_data_is_refused_in_one_sentence(make_tree: MakeTree, how: str, message: str) -> None:
    good = [make_tree(seed) for seed in (1, 2)] if how not in ("one class", "unjudged", "nothing") else []
    check_trees([make_tree(0)], vocabulary=VOCABULARY)
    with pytest.raises(DataError, match=message):
        check_trees(good + broken(make_tree(0), how), vocabulary=VOCABULARY)


@pytest.mark.parametrize("change", [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"batch_tokens": 0}])
def test_settings_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        TrainingSettings(**change)
