"""A saved value model made ready: beside a generator, or by itself as a stock classifier.

Beside a generator it is checked against it, in the right number type, its adapters merged. As a classifier the lower layers are
the base's, the upper ones the tail's, and the score matrix is the head's: one label for each number that the head emits at a
token. What turns these numbers into a value (bias, calibration, the weight of the mean log-probability, means along the path) is
no part of such a model: `guided_gen_value` in its config.json says it.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ..engine.cpu.packed_linear import pack_linears_
from ..engine.models.files import model_identity, resolve_model
from ..engine.models.loaded_model import LoadedModel
from ..engine.models.loading import chosen_precision, device_kind, load_model, load_weights
from ..engine.models.tokenizer_loading import load_tokenizer
from ..engine.tail import Tail
from ..engine.vllm_backend.pooling import exported_about
from ..engine.vllm_backend.settings import VllmSettings
from .made_for import MadeFor, Prompts, ValueModelError, wanted_for
from .model import ValueModel, merge_adapters
from .text_scorer import TextScoredModel, Translation, ValueReader


def load_scored_model(
    name: str,
    precision: str,
    value: str | Path,
    prompts: Prompts,
    value_base: str | None = None,
    backend: str = "torch",
    vllm: VllmSettings | None = None,
) -> LoadedModel:
    """`engine.loading.load_model` with a value model, whose values `scorers.value` reads.

    Where the value model is a text scorer its base (`value_base`, by default the one that it names) is loaded too, and prompts
    must be given in its form as well (`LanguageModel.reader_tokenizer`).
    With the backend vllm, `value` may also be an exported folder, which is then served beside the generator.
    Raises ValueModelMismatch, before the generator is loaded, where the value model was trained for other weights, another
    precision or other prompts.
    """
    generator = resolve_model(name)
    device = device_kind()
    own = wanted_for(generator, precision, backend, prompts)
    exported = exported_about(Path(value)) if backend == "vllm" else None
    if exported is not None:
        MadeFor(**exported["made_for"]).check(asdict(own))
        return load_model(name, precision, None, backend, vllm, classifier=Path(value))
    made_for = ValueModel.made_for(value)
    if not made_for.generator_sha256:
        made_for.check(asdict(own))
        # vLLM's workers read the tail from a file: only the head's sums are computed here.
        tail = _tail(ValueModel.from_pretrained(value, generator), own.precision, "cpu" if backend == "vllm" else device)
        return load_model(name, precision, tail, backend, vllm)
    base = resolve_model(value_base or made_for.model)
    read_by = model_identity(base)
    text_precision = chosen_precision("auto", device, base)
    found = replace(own, model=read_by.name, model_sha256=read_by.sha256, precision=text_precision)
    made_for.check(asdict(replace(found, generator=own.model, generator_sha256=own.model_sha256)))
    tail = _tail(ValueModel.from_pretrained(value, base), text_precision, device)
    pack_linears_(tail.layers)
    loaded, tokenizer = load_model(name, precision, None, backend, vllm), load_tokenizer(base)
    reader = ValueReader(load_weights(base, text_precision), tail)
    translation = Translation(loaded.tokenizer, loaded.stop_ids, tokenizer)
    return replace(loaded, language_model=TextScoredModel(loaded.language_model, reader, translation))


def _tail(values: ValueModel, precision: str, device: str) -> Tail:
    return values.engine_tail(torch.bfloat16 if precision == "bfloat16" else torch.float32, device)


# -- as a stock `*ForSequenceClassification` folder, which transformers and vLLM load with no code of ours


def export_classifier(model: ValueModel, base: Any, folder: Path) -> None:
    """Write `model` above the layers of `base`, a float `*ForCausalLM`, to `folder`. Raises ValueModelError for heads with hidden
    units."""
    from transformers import AutoModelForSequenceClassification

    head, settings = model.head, model.settings
    if settings.head.hidden:
        raise ValueModelError("a head with hidden units is no matrix: stock classifiers hold linear heads only")
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
    merge_adapters(tail.layers)
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
