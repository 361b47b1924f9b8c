"""Decoder-only models on CPUs, in blocks of a few bits a weight: the Qwen2, Qwen3, Llama and Phi-3 families.

The layers are ours, not transformers': they are few operators, each a kernel (kernels.py, blocks.py), and what transformers would
import for a model is never loaded. Attention, norms and rotary embeddings are computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..layout import Layout
from ..models.architecture import Architecture
from ..models.rope import Rotary, frequencies
from ..models.tensors import Tensors
from . import kernels
from .block_linear import BlockEmbedding, BlockLinear, block_matrix
from .layer_kernel import Heads, LayerKernel


def cpu_supported() -> bool:
    """Whether this machine has the kernels: compiled, and a CPU that they are for."""
    return bool(kernels.levels())


class CpuModel(nn.Module):
    """A decoder `model`, its `lm_head`, and as `config` the architecture."""

    def __init__(self, architecture: Architecture, tensors: Tensors) -> None:
        """Raises ModelError for files that do not hold what the architecture describes."""
        super().__init__()
        if not cpu_supported():
            raise ModelError(
                "precision int8 needs an x86-64 CPU with AVX2 or an ARM64 one, and a C compiler when guided-gen is installed: "
                "use float32"
            )
        self.config = architecture
        weights = _Weights(architecture, tensors)
        table = weights.stored("model.embed_tokens", architecture.vocab_size, architecture.hidden_size)
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # reading and packing hold no lock of the interpreter
            # The largest first, while little else is there.
            head = None
            if not architecture.tie_word_embeddings:
                head = pool.submit(weights.linear, ["lm_head"], [architecture.vocab_size], architecture.hidden_size)
            embedding = pool.submit(lambda: BlockEmbedding(block_matrix([table])))
            layers = list(pool.map(lambda i: CpuLayer(architecture, weights, i), range(architecture.num_hidden_layers)))
        self.lm_head = BlockLinear([embedding.result().matrix]) if head is None else head.result()
        self.model = CpuDecoder(architecture, embedding.result(), layers, weights.norm("model.norm"))

    def get_decoder(self) -> CpuDecoder:
        return self.model


class CpuDecoder(nn.Module):
    """All below the LM head; the parts have the names that they have in transformers."""

    def __init__(self, architecture: Architecture, embedding: BlockEmbedding, layers: Sequence[CpuLayer], norm: RMSNorm) -> None:
        super().__init__()
        self.embed_tokens = embedding
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.rotary_emb = Rotary(
            frequencies(architecture.rope_parameters, architecture.head_dim, architecture.max_position_embeddings)
        )


class CpuLayer(nn.Module):
    """hidden [1, T, H] -> [1, T, H]. Calls as a decoder layer of transformers does; only the layout knows of masks and caches."""

    def __init__(self, architecture: Architecture, weights: _Weights, index: int) -> None:
        super().__init__()
        name = f"model.layers.{index}"
        self.input_layernorm = weights.norm(f"{name}.input_layernorm")
        self.self_attn = CpuAttention(architecture, weights, index)
        self.post_attention_layernorm = weights.norm(f"{name}.post_attention_layernorm")
        self.mlp = CpuMLP(architecture, weights, f"{name}.mlp")
        attention, mlp = self.self_attn, self.mlp
        self._kernel = LayerKernel(
            Heads(architecture.num_attention_heads, architecture.num_key_value_heads, architecture.head_dim),
            (attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj),
            (self.input_layernorm.weight, self.post_attention_layernorm.weight),
            (attention.q_norm.weight, attention.k_norm.weight) if architecture.head_norms else None,
            architecture.rms_norm_eps,
        )
        self._scale = architecture.head_dim**-0.5

    def forward(
        self, hidden: torch.Tensor, *, position_embeddings: tuple[torch.Tensor, torch.Tensor], layout: Layout, **_: Any
    ) -> torch.Tensor:
        cosine, sine = position_embeddings
        query, key, value = self._kernel.before_attention(hidden[0], cosine[0], sine[0])
        attended = layout.attend(self.self_attn.layer_idx, query[None], key[None], value[None], self._scale)
        return self._kernel.after_attention(attended[0], hidden[0])[None]


class CpuAttention(nn.Module):
    """What a layer has for its attention; queries, keys and values from one product."""

    def __init__(self, architecture: Architecture, weights: _Weights, index: int) -> None:
        super().__init__()
        name = f"model.layers.{index}.self_attn"
        self.layer_idx = index
        head_dim = architecture.head_dim
        attended, kept = architecture.num_attention_heads * head_dim, architecture.num_key_value_heads * head_dim
        names, sizes = [f"{name}.{part}_proj" for part in "qkv"], [attended, kept, kept]
        if architecture.fused:
            names, sizes = [f"{name}.qkv_proj"], [sum(sizes)]
        self.qkv_proj = weights.linear(names, sizes, architecture.hidden_size, architecture.qkv_bias)
        self.o_proj = weights.linear([f"{name}.o_proj"], [architecture.hidden_size], attended, architecture.output_bias)
        if architecture.head_norms:
            self.q_norm, self.k_norm = (weights.norm(f"{name}.{part}_norm", head_dim) for part in "qk")


class CpuMLP(nn.Module):
    """The gated feed-forward block of a layer, gate and up from one product."""

    def __init__(self, architecture: Architecture, weights: _Weights, name: str) -> None:
        super().__init__()
        hidden, inner, biased = architecture.hidden_size, architecture.intermediate_size, architecture.mlp_bias
        names, sizes = [f"{name}.gate_proj", f"{name}.up_proj"], [inner, inner]
        if architecture.fused:
            names, sizes = [f"{name}.gate_up_proj"], [2 * inner]
        self.gate_up_proj = weights.linear(names, sizes, hidden, biased)
        self.down_proj = weights.linear([f"{name}.down_proj"], [hidden], inner, biased)


class RMSNorm(nn.Module):
    """x [..., K] -> [..., K]."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return kernels.rms_norm(x, self.weight, self.epsilon)


class _Weights:
    """A model's tensors by name, as the modules above."""

    def __init__(self, architecture: Architecture, tensors: Tensors) -> None:
        self._architecture, self._tensors = architecture, tensors

    def stored(self, name: str, rows: int, columns: int) -> Any:
        return self._tensors.matrix(f"{name}.weight", (rows, columns))

    def linear(self, names: Sequence[str], rows: Sequence[int], columns: int, biased: bool = False) -> BlockLinear:
        stored = [self.stored(name, size, columns) for name, size in zip(names, rows, strict=True)]
        bias = None
        if biased:
            bias = torch.cat([self._tensors.vector(f"{name}.bias", size) for name, size in zip(names, rows, strict=True)])
        return BlockLinear.of(stored, bias)

    def norm(self, name: str, size: int | None = None) -> RMSNorm:
        size = size or self._architecture.hidden_size
        return RMSNorm(self._tensors.vector(f"{name}.weight", size), self._architecture.rms_norm_eps)
