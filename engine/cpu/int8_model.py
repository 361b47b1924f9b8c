"""Decoder-only models in eight bits on CPUs: the Qwen2, Qwen3, Llama and Phi-3 families, read from a folder of safetensors.

The layers are ours, not transformers': they are few operators, each a kernel (kernels.py), and what transformers would import for
a model is never loaded. Attention, norms and rotary embeddings are computed in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..models.stored_tensors import StoredMatrix, files_of_tensors, opened
from ..torch_backend.kv_cache import Layout
from . import kernels
from .int8 import Int8Embedding, Int8Error, Int8Linear, int8_supported

FAMILIES = ("qwen2", "qwen3", "llama", "phi3")


class Int8Model(nn.Module):
    """A decoder `model`, its `lm_head`, and the `config` and `generation_config` that transformers reads from the folder."""

    def __init__(self, folder: Path) -> None:
        """Raises Int8Error for a family or a machine that is not covered, and MissingTensor."""
        from transformers import AutoConfig, GenerationConfig

        super().__init__()
        self.config = AutoConfig.from_pretrained(folder)
        _check(self.config)
        if (folder / "generation_config.json").is_file():
            self.generation_config = GenerationConfig.from_pretrained(folder)
        else:
            self.generation_config = GenerationConfig.from_model_config(self.config)  # type: ignore[no-untyped-call]
        weights = _Weights(files_of_tensors(folder))
        # The largest first, while little else is there.
        self.lm_head = weights.linear("model.embed_tokens" if self.config.tie_word_embeddings else "lm_head")
        self.model = Int8Decoder(self.config, weights)

    def get_decoder(self) -> Int8Decoder:
        return self.model


class Int8Decoder(nn.Module):
    """All below the LM head; the parts have the names that they have in transformers."""

    def __init__(self, config: Any, weights: _Weights) -> None:
        super().__init__()
        self.embed_tokens = Int8Embedding(weights.matrix("model.embed_tokens.weight"))
        self.layers = nn.ModuleList(Int8Layer(config, weights, i) for i in range(config.num_hidden_layers))
        self.norm = weights.norm("model.norm", config)
        self.rotary_emb = Rotary(config)


class Int8Layer(nn.Module):
    """hidden [1, T, H] -> [1, T, H]. Calls as a decoder layer of transformers does; only the layout knows of masks and caches."""

    def __init__(self, config: Any, weights: _Weights, index: int) -> None:
        super().__init__()
        name = f"model.layers.{index}"
        self.input_layernorm = weights.norm(f"{name}.input_layernorm", config)
        self.self_attn = Int8Attention(config, weights, index)
        self.post_attention_layernorm = weights.norm(f"{name}.post_attention_layernorm", config)
        self.mlp = Int8MLP(config, weights, f"{name}.mlp")

    def forward(
        self, hidden: torch.Tensor, *, position_embeddings: tuple[torch.Tensor, torch.Tensor], layout: Layout, **_: Any
    ) -> torch.Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), position_embeddings, layout)
        out: torch.Tensor = self.mlp(self.post_attention_layernorm(hidden)).add_(hidden)
        return out


class Int8Attention(nn.Module):
    """Queries, keys and values from one product."""

    def __init__(self, config: Any, weights: _Weights, index: int) -> None:
        super().__init__()
        name = f"model.layers.{index}.self_attn"
        self.layer_idx = index
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.heads
        together = [f"{name}.qkv_proj"] if config.model_type == "phi3" else [f"{name}.{x}_proj" for x in "qkv"]
        biased = getattr(config, "attention_bias", False)
        self.qkv_proj = weights.linear(*together, biased=biased or config.model_type == "qwen2")
        self.o_proj = weights.linear(f"{name}.o_proj", biased=biased and config.model_type != "qwen2")
        normed = config.model_type == "qwen3"
        self.q_norm = weights.norm(f"{name}.q_norm", config) if normed else nn.Identity()
        self.k_norm = weights.norm(f"{name}.k_norm", config) if normed else nn.Identity()

    def forward(self, x: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor], layout: Layout) -> torch.Tensor:
        qkv = self.qkv_proj(x)[0].view(x.shape[1], -1, self.head_dim)
        query, key, value = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        query, key = self.q_norm(query), self.k_norm(key)
        cosine, sine = (table[0] for table in position_embeddings)
        kernels.rotate_(query, cosine, sine)
        kernels.rotate_(key, cosine, sine)
        query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
        out = layout.attend(self.layer_idx, query, key, value, self.head_dim**-0.5)
        attended: torch.Tensor = self.o_proj(out.flatten(2))
        return attended


class Int8MLP(nn.Module):
    """The gated feed-forward block, gate and up from one product."""

    def __init__(self, config: Any, weights: _Weights, name: str) -> None:
        super().__init__()
        together = ["gate_up_proj"] if config.model_type == "phi3" else ["gate_proj", "up_proj"]
        biased = getattr(config, "mlp_bias", False)
        self.gate_up_proj = weights.linear(*(f"{name}.{part}" for part in together), biased=biased)
        self.down_proj = weights.linear(f"{name}.down_proj", biased=biased)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(kernels.silu_mul(self.gate_up_proj(x)))
        return out


class RMSNorm(nn.Module):
    """x [..., K] -> [..., K]."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return kernels.rms_norm(x, self.weight, self.epsilon)


class Rotary(nn.Module):
    """Cosines and sines [1, T, r] of rotary embeddings for positions [1, T], of all kinds that transformers knows."""

    def __init__(self, config: Any) -> None:
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update

        super().__init__()
        self.config = config
        self.rope_type = config.rope_parameters["rope_type"]
        self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
        start = _plain_frequencies if self.rope_type == "default" else ROPE_INIT_FUNCTIONS[self.rope_type]
        frequencies, self.attention_scaling = start(config, torch.device("cpu"))
        self.register_buffer("inv_freq", frequencies, persistent=False)
        self.register_buffer("original_inv_freq", frequencies.clone(), persistent=False)
        # Some kinds change their frequencies where a text grows long; this keeps them in the attributes above.
        self._tables = dynamic_rope_update(_tables)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tables: tuple[torch.Tensor, torch.Tensor] = self._tables(self, x, position_ids)
        return tables


def _tables(rotary: Any, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    angles = (position_ids[..., None].float() * rotary.inv_freq).repeat(1, 1, 2)
    return angles.cos() * rotary.attention_scaling, angles.sin() * rotary.attention_scaling


def _plain_frequencies(config: Any, device: torch.device) -> tuple[torch.Tensor, float]:
    rope = config.rope_parameters
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    return 1.0 / rope["rope_theta"] ** (torch.arange(0, width, 2, dtype=torch.float, device=device) / width), 1.0


class _Weights:
    """A folder's tensors by name, as the modules above."""

    def __init__(self, stored: dict[str, Path]) -> None:
        self._stored = stored

    def matrix(self, name: str) -> StoredMatrix:
        return StoredMatrix(self._stored, name)

    def vector(self, name: str) -> torch.Tensor:
        with opened(self._stored, name) as file:
            return file.get_tensor(name).float().clone()  # the file's mapping goes

    def linear(self, *names: str, biased: bool = False) -> Int8Linear:
        biases = [self.vector(f"{name}.bias") if biased else None for name in names]
        return Int8Linear([self.matrix(f"{name}.weight") for name in names], biases)

    def norm(self, name: str, config: Any) -> RMSNorm:
        return RMSNorm(self.vector(f"{name}.weight"), config.rms_norm_eps)


def _check(config: Any) -> None:
    if config.model_type not in FAMILIES:
        raise Int8Error(f"precision int8 covers the families {', '.join(FAMILIES)}, not {config.model_type}: use float32")
    if config.hidden_act != "silu":
        raise Int8Error(f"precision int8 covers the activation silu, not {config.hidden_act}: use float32")
    if not int8_supported():
        raise Int8Error(
            "precision int8 needs an x86-64 CPU with AVX2, and a C compiler (gcc) when guided-gen is installed: use float32"
        )
