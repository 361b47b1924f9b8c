"""Eight-bit decoding on CPUs: a transformers model's matrices in int8, its activations quantised a token at a time.

    x = a q    W[n] = b[n] w[n]    x . W[n] = a b[n] (q . w[n])    |q| <= 127, |w| <= 64

`a` belongs to a token and `b` to an output channel, so no token's result depends on the rest of the batch, and the integer
products are exact. Without VNNI the instruction that multiplies bytes adds two products in 16 bits: 2 x 255 x 64 fits (q is
stored from 0 on, with a zero point of 128) and 2 x 255 x 127 does not. So weights take seven bits, which costs less than taking
the bit from the activations (docs/int8.md has the measurements), and every CPU computes the same product of the same integers.

Covers the Qwen2, Qwen3, Llama and Phi-3 families. Attention itself, norms and rotary embeddings stay in float32.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .errors import GuidedGenError
from .stored_tensors import StoredLinear, StoredMatrix, files_of_tensors, opened

FAMILIES = ("qwen2", "qwen3", "llama", "phi3")
_ACTIVATION_LEVELS = 127  # on each side of zero
_WEIGHT_LEVELS = 64
_ZERO_POINT = 128
_TINY = 1e-30  # a token of zeros has some scale, too


class Int8Error(GuidedGenError):
    """A model or a machine that the int8 path does not cover."""


def int8_supported() -> bool:
    """Whether this machine's torch has the int8 matrix products (FBGEMM: x86-64 with AVX2 or better)."""
    return "fbgemm" in torch.backends.quantized.supported_engines


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and activations, x [..., K] -> [..., N].

    Made from one or more float layers over the same input, whose outputs then stand one behind the other.
    """

    bias: torch.Tensor | None

    def __init__(self, *linears: nn.Linear | StoredLinear) -> None:
        super().__init__()
        biases = [linear.bias for linear in linears]
        self.in_features = linears[0].in_features
        self.out_features = sum(linear.out_features for linear in linears)
        parts = [quantize_rows(linear.weight, _WEIGHT_LEVELS) for linear in linears]
        weight, scale = parts[0] if len(parts) == 1 else (torch.cat(same) for same in zip(*parts, strict=True))
        self._matrix = OneDnnMatrix(weight, scale) if torch.cpu._is_vnni_supported() else FbgemmMatrix(weight, scale)
        bias = None
        if any(b is not None for b in biases):
            filled = [torch.zeros(one.out_features) if b is None else b.detach() for one, b in zip(linears, biases, strict=True)]
            bias = torch.cat(filled).float()
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.reshape(-1, self.in_features)
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_(min=_TINY).div_(_ACTIVATION_LEVELS)
        out = self._matrix.times(rows / scale)
        out = out.mul_(scale) if self.bias is None else torch.addcmul(self.bias, out, scale)
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class OneDnnMatrix:
    """An int8 matrix [N, K] with scales [N] in oneDNN's form: with VNNI or AMX the faster of the two, without them the slower."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        self._packed = torch.ops.onednn.qlinear_prepack(weight, None)
        self._scale = scale
        self._zero_points = torch.zeros(len(scale), dtype=torch.int64)

    def times(self, steps: torch.Tensor) -> torch.Tensor:
        """steps [T, K] in [-127, 127], overwritten, rounded here -> [T, N]."""
        levels = steps.add_(_ZERO_POINT + 0.5).to(torch.uint8)  # the conversion truncates
        weights = (self._packed, self._scale, self._zero_points)
        out: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            levels, 1.0, _ZERO_POINT, *weights, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return out


class FbgemmMatrix:
    """The same in FBGEMM's form, which is as fast with AVX2 alone."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        chosen = torch.backends.quantized.engine
        torch.backends.quantized.engine = "fbgemm"
        try:
            with warnings.catch_warnings():  # torch announces the end of quantized tensors; this release has no other way in
                warnings.simplefilter("ignore", UserWarning)
                zero_points = torch.zeros(len(scale), dtype=torch.int64)
                matrix = torch._make_per_channel_quantized_tensor(weight, scale.double(), zero_points, 0)
            self._packed = torch.ops.quantized.linear_prepack(matrix, None)
        finally:
            torch.backends.quantized.engine = chosen

    def times(self, steps: torch.Tensor) -> torch.Tensor:
        """As `OneDnnMatrix.times`."""
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        out: torch.Tensor = product(steps, 1.0, _ZERO_POINT, self._packed)
        return out


class Int8Embedding(nn.Module):
    """An embedding table whose rows are rounded to int8 with a scale each when they are looked up; ids [...] -> float32 [..., H].

    A table in a file stays there, mapped: only pages with tokens that occur come into memory.
    """

    table: torch.Tensor

    def __init__(self, table: torch.Tensor | StoredMatrix) -> None:
        super().__init__()
        self.register_buffer("table", table[:].detach())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        quantized, scale = quantize_rows(F.embedding(ids.flatten(), self.table), 127)
        return (quantized * scale[:, None]).view(*ids.shape, -1)


class Int8Attention(nn.Module):
    """The attention block of the four families, queries, keys and values from one product. Calls as transformers' own does."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.config = attention.config
        self.layer_idx = attention.layer_idx
        self.head_dim = attention.head_dim
        self.scaling = attention.scaling
        self.num_key_value_groups = attention.num_key_value_groups
        self.is_causal = True
        self.sliding_window = getattr(attention, "sliding_window", getattr(self.config, "sliding_window", None))
        self.heads = self.config.num_attention_heads
        self.kv_heads = self.config.num_key_value_heads
        fused = [attention.qkv_proj] if hasattr(attention, "qkv_proj") else [attention.q_proj, attention.k_proj, attention.v_proj]
        self.qkv_proj = Int8Linear(*fused)
        self.o_proj = Int8Linear(attention.o_proj)
        self.q_norm = _norm(attention.q_norm) if hasattr(attention, "q_norm") else nn.Identity()
        self.k_norm = _norm(attention.k_norm) if hasattr(attention, "k_norm") else nn.Identity()

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        batch, length, _ = hidden_states.shape
        qkv = self.qkv_proj(hidden_states).view(batch, length, -1, self.head_dim).transpose(1, 2)
        query, key, value = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
        cos, sin = position_embeddings
        query = _rotate(self.q_norm(query), cos, sin)
        key = _rotate(self.k_norm(key), cos, sin)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        out, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=0.0,
            scaling=self.scaling,
            sliding_window=self.sliding_window,
            **kwargs,
        )
        return self.o_proj(out.reshape(batch, length, -1)), weights


class Int8MLP(nn.Module):
    """The gated feed-forward block of the four families, gate and up from one product."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        fused = [mlp.gate_up_proj] if hasattr(mlp, "gate_up_proj") else [mlp.gate_proj, mlp.up_proj]
        self.gate_up_proj = Int8Linear(*fused)
        self.down_proj = Int8Linear(mlp.down_proj)
        self.act_fn = mlp.activation_fn if hasattr(mlp, "activation_fn") else mlp.act_fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        out: torch.Tensor = self.down_proj(self.act_fn(gate).mul_(up))
        return out


def quantize_model_(model: Any) -> None:
    """Replace the matrices of a float32 `*ForCausalLM` on the CPU by int8 ones, in place.

    Raises Int8Error for a family or a machine that is not covered.
    """
    _check(model.config.model_type)
    for layer in model.model.layers:
        quantize_layer_(layer)
    model.model.norm = _norm(model.model.norm)
    head = Int8Linear(model.lm_head)  # before the table goes: the two may be tied
    model.model.embed_tokens = Int8Embedding(model.model.embed_tokens.weight)
    model.lm_head = head


def quantize_layer_(layer: Any) -> None:
    """The same for one decoder layer."""
    layer.input_layernorm = _norm(layer.input_layernorm)
    layer.post_attention_layernorm = _norm(layer.post_attention_layernorm)
    layer.self_attn = Int8Attention(layer.self_attn)
    layer.mlp = Int8MLP(layer.mlp)


def load_int8(folder: Path) -> Any:
    """Load a `*ForCausalLM` from a folder of safetensors in int8, one module in float32 at a time.

    Raises Int8Error and MissingTensor.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(folder)
    _check(config.model_type)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    decoder = model.model
    decoder.rotary_emb = type(decoder.rotary_emb)(config)  # its buffers are computed, not stored
    stored = files_of_tensors(folder)
    table = StoredMatrix(stored, "model.embed_tokens.weight")
    decoder.embed_tokens = Int8Embedding(table)
    model.lm_head = Int8Linear(StoredLinear(table if config.tie_word_embeddings else StoredMatrix(stored, "lm_head.weight")))
    for i, layer in enumerate(decoder.layers):
        _fill(layer, f"model.layers.{i}.", stored)
        quantize_layer_(layer)
    _fill(decoder.norm, "model.norm.", stored)
    decoder.norm = _norm(decoder.norm)
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()


@torch.no_grad()
def quantize_rows(weight: torch.Tensor | StoredMatrix, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric integers with a scale a row: float [N, K] -> int8 [N, K] in [-levels, levels], float32 [N]."""
    quantized = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(weight.shape[0])
    for start in range(0, weight.shape[0], 4096):  # in pieces: a vocabulary's matrix in float32 is large
        piece = weight[start : start + 4096].float()
        scale = piece.abs().amax(1).clamp_(min=_TINY).div_(levels)
        scales[start : start + 4096] = scale
        quantized[start : start + 4096] = (piece / scale[:, None]).round_().to(torch.int8)
    return quantized, scales


def _norm(norm: Any) -> nn.RMSNorm:
    """transformers' RMSNorm as torch's, one operator instead of six."""
    fused = nn.RMSNorm(norm.weight.shape[0], eps=norm.variance_epsilon, device="meta")
    fused.weight = nn.Parameter(norm.weight.detach().clone(), requires_grad=False)
    return fused


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of x [B, heads, T, d] by cos and sin [B, T, r]: the first r of d dimensions turn (Phi-3 turns a part)."""
    width = cos.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    half = width // 2
    swapped = torch.cat((-turned[..., half:], turned[..., :half]), dim=-1)
    out = torch.addcmul(turned * cos[:, None], swapped, sin[:, None])
    return out if rest.shape[-1] == 0 else torch.cat((out, rest), dim=-1)


def _check(model_type: str) -> None:
    if model_type not in FAMILIES:
        raise Int8Error(f"precision int8 covers the families {', '.join(FAMILIES)}, not {model_type}: use float32")
    if not int8_supported():
        raise Int8Error("precision int8 needs an x86-64 CPU with AVX2: use float32")


def _fill(module: nn.Module, prefix: str, stored: dict[str, Path]) -> None:
    """Give a module on the meta device its stored parameters."""
    parameters = {}
    for name in module.state_dict():
        with opened(stored, prefix + name) as file:
            parameters[name] = file.get_tensor(prefix + name).float()
    module.load_state_dict(parameters, assign=True)
