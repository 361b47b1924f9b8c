"""Models as transformers' modules in floats: from a folder, or from a GGUF whose blocks become the floats that they stand for.

That is what everything needs that trains, exports, or decodes without our kernels. Nothing is written to disk, and nothing is
made up: a tensor that the files lack, or hold in another shape, is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from .architecture import Architecture, architecture_of_gguf
from .gguf_file import GgufFile
from .tensors import FolderTensors, GgufTensors, Tensors
from .tokenizer_loading import quieten_transformers

FLOAT_FAMILIES = (
    "qwen2",
    "qwen3",
    "llama",
    "phi3",
    "arcee",
    "ernie4_5",
    "glm",
    "glm4",
    "mistral",
    "mixtral",
    "olmo2",
    "qwen2_moe",
    "qwen3_moe",
    "seed_oss",
    "smollm3",
    "starcoder2",
)
"""Families of transformers whose layers, run by us, compute what their own model does: each is tested. Others may scale
embeddings or logits, cap scores or attend to sinks outside of what we run, and are refused."""

_MAX_CONFIG = 4 << 20
_MAX_LAYERS, _MAX_SIZE = 1024, 1 << 24


def model_config(path: Path) -> Any:
    """The configuration of transformers for a model folder or a GGUF. Raises ModelError."""
    quieten_transformers()
    if path.is_file():
        with GgufFile(path) as file:
            return config_of(architecture_of_gguf(file))
    _check_config(path / "config.json")
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever a malformed file trips over
        raise ModelError(f"{path} has no configuration that can be used: {_first_line(error)}") from error


def _check_config(path: Path) -> None:
    """What transformers would spend minutes or all memory on, or ask about, is refused before it sees it."""
    try:
        if path.stat().st_size > _MAX_CONFIG:
            raise ModelError(f"{path} is larger than {_MAX_CONFIG >> 20} MB")
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is no configuration: {_first_line(error)}") from error
    family = raw.get("model_type") if isinstance(raw, dict) else None
    if family not in FLOAT_FAMILIES:
        raise ModelError(f"{path.parent} is of the family {family}, which is not covered; {', '.join(FLOAT_FAMILIES)} are")
    if raw.get("quantization_config") is not None:
        raise ModelError(
            f"{path.parent} holds quantised weights, which are not covered: take the model's plain weights or a GGUF"
        )
    for name, value in raw.items():
        most = _MAX_LAYERS if name.endswith("layers") else _MAX_SIZE
        if isinstance(value, int) and name.startswith(("num_", "hidden_", "intermediate_", "vocab_")) and not 0 <= value <= most:
            raise ModelError(f"{path} sets {name} to {value}")


def config_of(architecture: Architecture) -> Any:
    """A configuration of transformers that describes the same model. Raises ModelError where transformers has none."""
    from transformers import AutoConfig

    names: tuple[str, ...] = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    names += ("max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "sliding_window")
    fields: dict[str, Any] = {name: getattr(architecture, name) for name in names}
    fields["rope_parameters"] = dict(architecture.rope_parameters)
    family = architecture.model_type
    if family in ("qwen3", "llama"):
        fields |= {"head_dim": architecture.head_dim, "attention_bias": architecture.qkv_bias}
    elif architecture.head_dim * architecture.num_attention_heads != architecture.hidden_size:
        raise ModelError(f"transformers has no {family} whose heads do not make up its hidden size")
    if family == "llama":
        fields["mlp_bias"] = architecture.mlp_bias
    # The families' own token ids may lie beyond a smaller vocabulary.
    config: Any = AutoConfig.for_model(family, **fields, bos_token_id=None, eos_token_id=None, pad_token_id=None)
    return config


def float_model(path: Path, dtype: torch.dtype) -> Any:
    """A causal language model of transformers on the CPU. Raises ModelError."""
    config = model_config(path)
    if not path.is_file():
        return _folder_model(path, config, dtype)
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)  # type: ignore[no-untyped-call]
    decoder = model.get_decoder()
    decoder.rotary_emb = type(decoder.rotary_emb)(decoder.config)
    names = [name for name in model.state_dict() if not (config.tie_word_embeddings and name.startswith("lm_head."))]
    with opened_tensors(path) as tensors:
        fill(model, {name: name for name in names}, tensors.tensors, dtype)
    model.tie_weights()
    return model.eval()


class opened_tensors:
    """The tensors of a model folder or a GGUF, for as long as the file is open: `with opened_tensors(path) as source: ...`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: GgufFile | None = None
        self.tensors: Tensors

    def __enter__(self) -> opened_tensors:
        if self._path.is_file():
            self._file = GgufFile(self._path)
            self.tensors = GgufTensors(self._file, architecture_of_gguf(self._file))
        else:
            self.tensors = FolderTensors(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


def fill(module: nn.Module, names: Mapping[str, str], tensors: Tensors, dtype: torch.dtype) -> None:
    """Set the parameters of `module`, which may be on the meta device: `names` maps each one's name to its tensor's."""
    shapes = {name: tensor.shape for name, tensor in module.state_dict().items()}
    state = {own: read_floats(tensors, name, shapes[own], dtype) for own, name in names.items()}
    module.load_state_dict(state, strict=False, assign=True)


def read_floats(tensors: Tensors, name: str, shape: Iterable[int], dtype: torch.dtype) -> torch.Tensor:
    """A vector [n] or a matrix [n, m] as floats. Raises ModelError where it is missing or not of the `shape` asked for."""
    sizes = tuple(shape)
    if len(sizes) == 1:
        return tensors.vector(name, sizes[0]).to(dtype)
    if len(sizes) != 2:
        raise ModelError(f"tensor {name} has {len(sizes)} dimensions, which is not covered")
    out = torch.empty(sizes, dtype=dtype)
    for first, floats in tensors.matrix(name, (sizes[0], sizes[1])).floats():
        out[first : first + len(floats)] = floats
    return out


def _folder_model(path: Path, config: Any, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, config=config, dtype=dtype, trust_remote_code=False, output_loading_info=True
        )
        model, report = loaded
    except Exception as error:  # transformers raises whatever a malformed file trips over
        raise ModelError(f"{path} cannot be loaded as a causal language model: {_first_line(error)}") from error
    for kind in ("missing_keys", "mismatched_keys"):
        if report[kind]:
            raise ModelError(f"{path} holds no tensor {min(map(str, report[kind]))}, or not as its configuration makes it")
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ModelError(f"{path} holds numbers in {name} that are not finite: it is broken")
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
