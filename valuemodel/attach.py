"""A saved value model made ready for a generator: checked against it, in the right number type, adapters merged."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from ..engine.cpu.packed_linear import pack_linears_
from ..engine.models.files import model_identity, resolve_model
from ..engine.models.loaded_model import LoadedModel
from ..engine.models.loading import chosen_precision, device_kind, load_model, load_weights
from ..engine.models.tokenizer_loading import load_tokenizer
from ..engine.tail import Tail
from ..engine.vllm_backend.pooling import exported_about
from ..engine.vllm_backend.settings import VllmSettings
from .made_for import MadeFor, Prompts, wanted_for
from .model import ValueModel
from .text_scorer import TextScoredModel, ValueReader
from .translation import Translation


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
