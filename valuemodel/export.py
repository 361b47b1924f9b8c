"""A value model as a stock `*ForSequenceClassification` folder, which transformers and vLLM load with no code of ours.

The lower layers are the base's, the upper ones the tail's (adapters merged), and the score matrix is the head's: one label for
each number that the head emits at a token. What turns these numbers into a value (bias, calibration, the weight of the mean
log-probability, means along the path) is no part of such a model: `guided_gen_value` in its config.json says it.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification

from ..engine.errors import GuidedGenError
from . import lora
from .model import ValueModel


class ExportError(GuidedGenError):
    """A value model that no stock class can hold."""


def export_classifier(model: ValueModel, base: Any, folder: Path) -> None:
    """Write `model` above the layers of `base`, a float `*ForCausalLM`, to `folder`. Raises ExportError for heads with hidden
    units."""
    head, settings = model.head, model.settings
    if settings.head.hidden:
        raise ExportError("a head with hidden units is no matrix: stock classifiers hold linear heads only")
    count = settings.fork_layer + settings.tail_layers
    config = _shortened(base.config, count)
    config.num_labels = head.width
    config.id2label = dict(enumerate(settings.head.state_features))
    config.label2id = {label: i for i, label in config.id2label.items()}
    config.problem_type = "regression"
    config.architectures = None
    config.guided_gen_value = value_formula(model)
    classifier: Any = AutoModelForSequenceClassification.from_config(config, dtype=next(base.parameters()).dtype)  # type: ignore[no-untyped-call]
    tail = copy.deepcopy(model.tail)
    lora.merge_adapters(tail.layers)
    decoder, own = base.get_decoder(), classifier.get_decoder()
    own.embed_tokens.load_state_dict(decoder.embed_tokens.state_dict())
    for layer, source in zip(own.layers, [*decoder.layers[: settings.fork_layer], *tail.layers], strict=True):
        layer.load_state_dict(source.state_dict())
    own.norm.load_state_dict(tail.norm.state_dict())
    with torch.no_grad():
        classifier.score.weight.copy_(head.project.weight)
    classifier.save_pretrained(folder)


def value_formula(model: ValueModel) -> dict[str, Any]:
    """How the labels make a value: sigmoid(scale * (sum of terms + bias) + shift), as plain JSON.

    `terms`: for each label whether its last or its mean over the generated tokens counts; `logprob_weight` multiplies the mean
    log-probability of the generated tokens.
    """
    head = model.head
    scale, shift = head.calibration.tolist()
    return {
        "terms": list(model.settings.head.state_features),
        "bias": float(head.bias[0].detach()),
        "logprob_weight": 0.0 if head.logprob_weight is None else float(head.logprob_weight[0].detach()),
        "scale": scale,
        "shift": shift,
        "made_for": vars(model.settings.made_for),
    }


def _shortened(config: Any, layers: int) -> Any:
    """A copy of a configuration with only the first `layers` layers."""
    raw = json.loads(json.dumps(config.to_dict(), default=str))
    raw["num_hidden_layers"] = layers
    if raw.get("layer_types"):
        raw["layer_types"] = raw["layer_types"][:layers]
    raw.pop("model_type")
    return type(config)(**raw)
