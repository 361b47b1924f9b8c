"""From judged trees to a finished value model in a folder, and from that to the values of judged trees.

Making one: checks, cached states, training, calibration, the statement's baseline. `scored_trees` is the way back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..engine.errors import DataError, SettingsError
from ..engine.files import replaced_atomically
from ..engine.models.files import cache_dir, model_identity
from ..engine.models.float_models import model_config
from ..engine.models.loading import load_weights
from ..engine.progress import stage
from . import probe
from .base_layers import layer_count
from .card import write_card, write_known
from .examples import Example, States, check_trees, join_examples, make_examples
from .heads import HeadSettings, ValueHead
from .made_for import MadeFor, ValueModelError, ValueModelMismatch
from .model import ValueModel
from .packing import PromptedTree
from .state_cache import StateCache, cached_states
from .targets import outcomes
from .training import History, TrainingSettings, train

STATEMENT = "statement.safetensors"


@dataclass(frozen=True)
class Shape:
    """What is to be trained. `fork_layer` None is the paper's two blocks, or the top for a probe; `lora_rank` is for --tune
    lora."""

    fork_layer: int | None = None
    tail_layers: int | None = None
    head: HeadSettings = field(default_factory=HeadSettings)
    lora_rank: int = 8


def fit_value_model(
    training: Sequence[PromptedTree],
    validation: Sequence[PromptedTree],
    base: Path,
    shape: Shape,
    settings: TrainingSettings,
    out: Path,
    cache: Path | None = None,
) -> tuple[ValueModel, History]:
    """Train on `training`, choose and calibrate on the independent rollouts of `validation`, and write the model to `out`.

    `base` is the folder of the model that the trees are from. The states of its lower layers are kept in `cache` (by default in
    guided-gen's cache directory). Raises DataError, ValueModelMismatch and SettingsError before anything is computed.
    """
    made_for = check_data(training, validation, base)
    model = _new_model(base, shape, settings, made_for)
    examples = make_examples(training, settings.targets, settings.balanced)
    held_out = make_examples(validation, independent=True)
    from_prompt = make_examples(training, independent=True)
    fork_layer = model.settings.fork_layer
    states = base_states([*examples, *held_out], base, made_for, [fork_layer], cache)[fork_layer]
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    history = train(model, examples, held_out, states, settings, out / "training")
    statement = fit_statement(from_prompt, held_out, states, training, validation)
    model.settings = replace(model.settings, training=_record(settings, history, examples, held_out, model))
    model.save_pretrained(out)
    save_statement(statement, out)
    write_known(out, (one.problem for one in training), (one.problem for one in validation))
    write_card(out, made_for, _shape_in_words(model), model.settings.training, history.best_loss)
    return model, history


def check_data(training: Sequence[PromptedTree], validation: Sequence[PromptedTree], base: Path) -> MadeFor:
    """The generator that all trees are from, which must be `base`; no problem may be on both sides. Raises ValueModelMismatch
    or SettingsError.
    """
    vocabulary = model_config(base).vocab_size
    made_for = check_trees(training, vocabulary=vocabulary)
    made_for.check(asdict(check_trees(validation, vocabulary=vocabulary)))
    shared = {one.problem for one in training} & {one.problem for one in validation}
    if shared:
        raise SettingsError(f"{len(shared)} problems are in the training and the validation data, such as {min(shared)}")
    identity = model_identity(base)
    if identity.sha256 != made_for.model_sha256:
        raise ValueModelMismatch(
            f"the trees are from {made_for.model} ({made_for.model_sha256[:12]}), not from the base model {identity.name} "
            f"({identity.sha256[:12]})"
        )
    return made_for


def base_states(
    examples: Sequence[Example], base: Path, made_for: MadeFor, fork_layers: Sequence[int], cache: Path | None = None
) -> dict[int, StateCache]:
    """The states below each of `fork_layers`, computed in the precision of the trees where the cache does not have them."""
    folder = (cache or cache_dir() / "states") / f"{made_for.model_sha256[:16]}-{made_for.precision}"
    packs = [example.pack for example in examples]
    return cached_states(folder, packs, fork_layers, lambda: load_weights(base, made_for.precision))


@dataclass(frozen=True)
class ScoredTrees:
    """Judged trees with a value at every node, and what was computed for it: their examples, and the states below the tail."""

    model: ValueModel
    trees: Sequence[PromptedTree]
    examples: list[Example]
    states: StateCache


def scored_trees(value: Path, base: Path, trees: Sequence[PromptedTree], cache: Path | None = None) -> ScoredTrees:
    """Load the value model in `value` and set every node's value; each tree is packed once, and read by the base in the folder
    `base` where `cache` does not hold its states.

    Raises ValueModelMismatch for trees of another generator than it was made for, DataError where one has no judged rollout.
    """
    made_for = ValueModel.made_for(value)
    for origin in dict.fromkeys(MadeFor.of(one.tree.metadata) for one in trees):
        made_for.check(asdict(origin))
    examples = make_examples(trees)
    if len(examples) < len(trees):
        raise DataError(f"{len(trees) - len(examples)} of {len(trees)} trees have no judged rollouts")
    model = ValueModel.from_pretrained(value, base)
    fork_layer = model.settings.fork_layer
    states = base_states(examples, base, made_for, [fork_layer], cache)[fork_layer]
    with stage(f"Scoring {len(trees)} trees", total=float(len(trees))) as advance:
        for i, (one, example) in enumerate(zip(trees, examples, strict=True)):
            batch = join_examples([example], states, next(model.tail.norm.parameters()).device)
            values = model.values(batch.states, batch.pack, batch.mean_logprob).cpu().numpy()
            one.tree.nodes.value[example.pack.nodes.numpy()] = values
            advance(i + 1)
    return ScoredTrees(model, trees, examples, states)


def statement_states(examples: Sequence[Example], states: States) -> torch.Tensor:
    """The state at the last token of each example's prompt, scaled to unit variance, [examples, H]."""
    last = torch.stack([states[example.key][len(example.pack) - len(example.pack.rows) - 1].float() for example in examples])
    return last / last.square().mean(dim=1, keepdim=True).sqrt()


def fit_statement(
    training: Sequence[Example],
    validation: Sequence[Example],
    states: StateCache,
    training_trees: Sequence[PromptedTree],
    validation_trees: Sequence[PromptedTree],
) -> ValueHead:
    """A probe on the last token of the prompt: how many rollouts pass, by the statement alone. A baseline, never part of a
    value."""
    sides = []
    for examples, trees in ((training, training_trees), (validation, validation_trees)):
        rates = torch.tensor([_pass_rate(one) for one in trees if len(outcomes(one.tree, independent=True).rows)])
        rooted, ones = statement_states(examples, states), torch.ones(len(examples))
        sides.append(probe.PathFeatures({"last": rooted}, torch.zeros(len(examples)), rates, ones))
    head = ValueHead(sides[0].states["last"].shape[1], HeadSettings(("last",)))
    probe.fit_head(head, *sides)
    return head


def save_statement(head: ValueHead, folder: Path) -> None:
    with replaced_atomically(folder / STATEMENT) as temporary:
        save_file(head.state_dict(), temporary)


def load_statement(folder: Path) -> ValueHead:
    """The statement's probe of a trained value model. Raises ValueModelError where there is none, as in a copy of a model."""
    try:
        state = load_file(folder / STATEMENT)
    except (OSError, SafetensorError) as error:
        raise ValueModelError(f"{folder} holds no {STATEMENT}, which training writes beside a value model") from error
    head = ValueHead(state["project.weight"].shape[1], HeadSettings(("last",)))
    head.load_state_dict(state)
    return head


def _new_model(base: Path, shape: Shape, settings: TrainingSettings, made_for: MadeFor) -> ValueModel:
    total = layer_count(model_config(base))
    if settings.tune == "head":
        if shape.tail_layers:
            raise SettingsError("a head alone has no layers of its own: choose the layer below it with the fork layer")
        fork_layer = total if shape.fork_layer is None else shape.fork_layer
        return ValueModel.from_base(base, fork_layer, shape.head, 0, made_for=made_for)
    fork_layer = max(total - 2, 0) if shape.fork_layer is None else shape.fork_layer
    rank = shape.lora_rank if settings.tune == "lora" else 0
    return ValueModel.from_base(base, fork_layer, shape.head, shape.tail_layers, lora_rank=rank, made_for=made_for)


def _shape_in_words(model: ValueModel) -> str:
    settings = model.settings
    layers = f"{settings.tail_layers} layers of its own" if settings.tail_layers else "a probe: no layers of its own"
    reads = ", ".join(settings.head.features)
    return f"It has {layers}, above layer {settings.fork_layer} of its base, and a head that reads {reads} (docs/valuemodel.md)."


def _pass_rate(one: PromptedTree) -> float:
    found = outcomes(one.tree, independent=True)
    return float((found.counts * found.correct).sum() / found.counts.sum())


def _record(
    settings: TrainingSettings, history: History, examples: Sequence[Example], held_out: Sequence[Example], model: ValueModel
) -> dict[str, Any]:
    """What a reader of the folder wants to know of how it came to be."""
    share = sum(float((one.labels * one.weights).sum()) for one in held_out)
    scale, shift = model.head.calibration.tolist()
    return {
        "settings": asdict(settings),
        "training_problems": len({one.problem for one in examples}),
        "training_tokens": sum(len(one.pack.rows) for one in examples),
        "validation_problems": len({one.problem for one in held_out}),
        "calibration": {"scale": scale, "shift": shift, "base_rate": share / sum(float(one.weights.sum()) for one in held_out)},
        "head_fit": history.head_fit,
        "validation_losses": history.validation,
        "steps": len(history.training),
    }
