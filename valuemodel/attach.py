"""A saved value model made ready for a generator: checked against it, in its number type, adapters merged."""

from __future__ import annotations

from pathlib import Path

import torch

from ..engine.loading import LoadedModel, chosen_precision, load_model
from ..engine.model_files import model_identity, resolve_model
from .model import MadeFor, ValueModel


def load_scored_model(name: str, precision: str, value: str | Path, template: str, template_hash: str) -> LoadedModel:
    """`engine.loading.load_model` with a value model on top, whose values `scorers.value` reads.

    `template` and its hash name the prompts that will be used. Raises ValueModelMismatch, before the generator is loaded, where
    the value model was trained for other weights, another precision or other prompts.
    """
    base = resolve_model(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = chosen_precision(precision, device)
    identity = model_identity(base)
    values = ValueModel.from_pretrained(value, base)
    values.settings.made_for.check(vars(MadeFor(identity.name, identity.sha256, chosen, template, template_hash)))
    dtype = torch.bfloat16 if chosen == "bfloat16" else torch.float32
    return load_model(name, precision, values.engine_tail(dtype, device))
