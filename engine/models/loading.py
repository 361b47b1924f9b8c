"""From a model's name to a language model that decodes: resolve the files, choose the precision, load."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..cpu.allocation import keep_freed_memory
from ..cpu.int8 import int8_supported
from ..cpu.int8_model import Int8Model
from ..cpu.packed_linear import pack_linears_
from ..errors import GuidedGenError
from ..language_model import LanguageModel
from ..tail import Tail
from ..torch_backend.model import TorchLanguageModel
from ..vllm_backend.settings import VllmSettings
from .files import ModelIdentity, model_identity, resolve_model
from .gguf_conversion import END_TOKENS
from .sources import DEFAULT_MODEL

BACKENDS = ("torch", "vllm")
PRECISIONS = ("auto", "float32", "bfloat16", "int8")


class LoadError(GuidedGenError):
    """A model that is there but cannot be loaded."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to decode, with what names it: `identity` for the weights, `precision` for how they are computed with."""

    language_model: LanguageModel
    tokenizer: Any
    stop_ids: frozenset[int]
    identity: ModelIdentity
    precision: str
    folder: Path


def load_model(
    name: str = DEFAULT_MODEL,
    precision: str = "auto",
    tail: Tail | None = None,
    backend: str = "torch",
    vllm: VllmSettings | None = None,
) -> LoadedModel:
    """Load a model by name, folder, GGUF file or hub id. `precision` auto is bfloat16 on CUDA and
    int8 on a CPU that has the kernels for it, else float32.

    `backend` vllm serves it with vLLM, as `vllm` says, and has no int8: auto is float32 on a CPU.
    """
    if backend == "vllm":
        from ..vllm_backend.loading import load_vllm

        return load_vllm(name, precision, tail, vllm)
    if backend != "torch":
        raise LoadError(f"there is no backend {backend!r}; there are {' and '.join(BACKENDS)}")
    folder = resolve_model(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = chosen_precision(precision, device)
    model = load_weights(folder, chosen, packed=True)
    if tail is not None:
        pack_linears_(tail.layers)
    tokenizer = load_tokenizer(folder)
    stop_ids = end_ids(tokenizer, model.generation_config)
    return LoadedModel(TorchLanguageModel(model, tail), tokenizer, stop_ids, model_identity(folder), chosen, folder)


def chosen_precision(precision: str, device: str) -> str:
    """What `auto` stands for on this device; any other name as it is. Raises LoadError for one that the device does not have."""
    if precision not in PRECISIONS:
        raise LoadError(f"there is no precision {precision!r}; there are {', '.join(PRECISIONS)}")
    if precision == "int8" and device != "cpu":
        raise LoadError("precision int8 is for CPUs; this machine decodes on its GPU: use bfloat16 or float32")
    if precision != "auto":
        return precision
    if device != "cpu":
        return "bfloat16"
    return "int8" if int8_supported() else "float32"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder."""
    _quieten_transformers()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def end_ids(tokenizer: Any, generation_config: Any) -> frozenset[int]:
    """Token ids that end an answer: those of the model's generation settings and the well-known ends of turns."""
    ids = generation_config.eos_token_id if generation_config is not None else None
    ends = set(ids if isinstance(ids, list) else [ids]) | {tokenizer.eos_token_id}
    vocabulary = tokenizer.get_added_vocab()
    ends |= {vocabulary[token] for token in END_TOKENS if token in vocabulary}
    return frozenset(end for end in ends if end is not None)


def line_end_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of all tokens whose text holds a line break."""
    ids = range(len(tokenizer))
    return frozenset(i for i, text in zip(ids, tokenizer.batch_decode([[i] for i in ids]), strict=True) if "\n" in text)


def load_weights(folder: Path, precision: str, packed: bool = False) -> Any:
    """The causal language model in a folder, in one of `PRECISIONS` but auto, on the GPU if there is one: an `Int8Model`, or a
    `*ForCausalLM` of transformers.

    `packed`: where it is float32 on a CPU its matrices are made faster, for decoding only (packed_linear.py).
    """
    _quieten_transformers()
    try:
        model = Int8Model(folder).eval() if precision == "int8" else _load_float(folder, precision)
    except (OSError, ValueError, KeyError) as error:
        raise LoadError(f"{folder} cannot be loaded as a causal language model: {error}") from error
    if next(model.parameters()).device.type == "cpu":
        if packed:
            pack_linears_(model, folder)
        keep_freed_memory()  # only now: what loading needed is given back
    return model


def _load_float(folder: Path, precision: str) -> Any:
    from transformers import AutoModelForCausalLM

    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def _quieten_transformers() -> None:
    """Its progress bars and hints would mix with ours; a user's own setting wins."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers

    logging: Any = transformers.utils.logging
    if os.environ["TRANSFORMERS_VERBOSITY"] == "error":
        logging.set_verbosity_error()
        logging.disable_progress_bar()
