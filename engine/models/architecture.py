"""What a decoder-only model looks like, read from a GGUF's metadata or from a configuration of transformers.

Fields have the names that they have in transformers' configurations. Four families are covered, and of each only what is known
here: whatever else a file sets or holds is refused in a sentence, since a model that runs without it runs with wrong numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from .gguf_file import GgufFile, LongList

FAMILIES = ("qwen2", "qwen3", "llama", "phi3")
ROPE_TENSORS = frozenset(("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"))
"""Of a GGUF that say how its rotary embeddings are scaled."""

_MAX_SIZE = 1 << 24
_MAX_LAYERS = 1024


@dataclass(frozen=True)
class Architecture:
    """Sizes and kinds of a model's parts. `sliding_window`: how many tokens back some layer sees, if not all."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_parameters: Mapping[str, Any] = field(hash=False)
    tie_word_embeddings: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    sliding_window: int | None = None

    def __post_init__(self) -> None:
        if self.model_type not in FAMILIES:
            raise ModelError(f"the family {self.model_type} is not covered; {', '.join(FAMILIES)} are")
        sizes = {name: getattr(self, name) for name in _SIZES}
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= _MAX_SIZE:
                raise ModelError(f"the model's {name} is {size!r}")
        if self.num_hidden_layers > _MAX_LAYERS:
            raise ModelError(f"the model's num_hidden_layers is {self.num_hidden_layers}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ModelError(f"{self.num_attention_heads} heads cannot share {self.num_key_value_heads} heads of keys and values")
        if not isinstance(self.rms_norm_eps, float) or not 0 <= self.rms_norm_eps < math.inf:
            raise ModelError(f"the model's rms_norm_eps is {self.rms_norm_eps!r}")

    @property
    def head_norms(self) -> bool:
        """Whether queries and keys are normed, a head at a time."""
        return self.model_type == "qwen3"

    @property
    def fused(self) -> bool:
        """Whether queries, keys and values are one stored matrix, and so are gate and up."""
        return self.model_type == "phi3"


def tensor_names(architecture: Architecture) -> set[str]:
    """Names, as transformers has them, of all tensors that such a model has."""
    fused, names = architecture.fused, {"model.embed_tokens.weight", "model.norm.weight"}
    if not architecture.tie_word_embeddings:
        names.add("lm_head.weight")
    queries = ["qkv_proj"] if fused else ["q_proj", "k_proj", "v_proj"]
    gates = ["gate_up_proj"] if fused else ["gate_proj", "up_proj"]
    matrices = {
        **{f"self_attn.{part}": architecture.qkv_bias for part in queries},
        "self_attn.o_proj": architecture.output_bias,
        **{f"mlp.{part}": architecture.mlp_bias for part in [*gates, "down_proj"]},
    }
    norms = ["input_layernorm", "post_attention_layernorm"]
    if architecture.head_norms:
        norms += ["self_attn.q_norm", "self_attn.k_norm"]
    parts = [f"{part}.weight" for part in [*matrices, *norms]] + [f"{part}.bias" for part, biased in matrices.items() if biased]
    return names | {f"model.layers.{i}.{part}" for i in range(architecture.num_hidden_layers) for part in parts}


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)


def architecture_of_config(config: Any) -> Architecture:
    """From a configuration of transformers. Raises ModelError."""
    family = config.model_type
    if family not in FAMILIES:
        raise ModelError(f"the family {family} is not covered; {', '.join(FAMILIES)} are")
    if config.hidden_act != "silu":
        raise ModelError(f"the activation {config.hidden_act} is not covered; silu is")
    biased = bool(getattr(config, "attention_bias", False))
    windowed = getattr(config, "use_sliding_window", True) and "sliding_attention" in (
        getattr(config, "layer_types", None) or ["sliding_attention"]
    )
    return Architecture(
        model_type=family,
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // (config.num_attention_heads or 1),
        max_position_embeddings=config.max_position_embeddings,
        rms_norm_eps=float(config.rms_norm_eps),
        rope_parameters=dict(config.rope_parameters),
        tie_word_embeddings=bool(config.tie_word_embeddings),
        qkv_bias=family == "qwen2" or (biased and family != "phi3"),
        output_bias=biased and family in ("qwen3", "llama"),
        mlp_bias=family == "llama" and bool(getattr(config, "mlp_bias", False)),
        sliding_window=(getattr(config, "sliding_window", None) or None) if windowed else None,
    )


def architecture_of_gguf(file: GgufFile) -> Architecture:
    """From a GGUF file's metadata and the names of its tensors. Raises ModelError."""
    family = file.metadata.get("general.architecture")
    if family not in FAMILIES:
        raise ModelError(f"{file.path} is of the family {family}, which is not covered; {', '.join(FAMILIES)} are")
    if "split.count" in file.metadata and file.metadata["split.count"] != 1:
        raise ModelError(f"{file.path} is a part of a model that is split over several files; join them first")
    return _GgufMetadata(file, family).architecture()


class _GgufMetadata:
    """Takes the entries of one family from a file's metadata; what it is not asked for is not covered."""

    def __init__(self, file: GgufFile, family: str) -> None:
        self._file, self._family = file, family
        prefix = f"{family}."
        self._left = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}

    def architecture(self) -> Architecture:
        heads, hidden = self._size("attention.head_count"), self._size("embedding_length")
        context = self._size("context_length")
        head_dim = self._size("attention.key_length", hidden // heads)
        if self._size("attention.value_length", head_dim) != head_dim:
            raise ModelError(f"{self._file.path} has values of another width than its keys, which is not covered")
        table = self._file.tensors.get("token_embd.weight")
        if table is None:
            raise ModelError(f"{self._file.path} holds no tensor token_embd.weight")
        arguments: dict[str, Any] = {
            "vocab_size": table.shape[0],
            "intermediate_size": self._size("feed_forward_length"),
            "num_hidden_layers": self._size("block_count"),
            "num_key_value_heads": self._size("attention.head_count_kv", heads),
            "rms_norm_eps": self._take("attention.layer_norm_rms_epsilon", 1e-5),
            "sliding_window": self._take("attention.sliding_window", None) or None,
        }
        rope = self._rope(head_dim, context)
        for ignored in ("vocab_size", "tensor_data_layout"):  # the first is the table's, the second names the order of rows
            self._left.pop(ignored, None)
        for neutral, value in (("expert_count", 0), ("expert_used_count", 0), ("attention.causal", True)):
            if self._left.get(neutral) == value:
                del self._left[neutral]
        if self._left:
            raise ModelError(f"{self._file.path} sets {self._family}.{min(self._left)}, which is not covered")
        return Architecture(
            model_type=self._family,
            hidden_size=hidden,
            num_attention_heads=heads,
            head_dim=head_dim,
            max_position_embeddings=context,
            rope_parameters=rope,
            tie_word_embeddings="output.weight" not in self._file.tensors,
            qkv_bias="blk.0.attn_q.bias" in self._file.tensors,
            output_bias="blk.0.attn_output.bias" in self._file.tensors,
            mlp_bias="blk.0.ffn_down.bias" in self._file.tensors,
            **arguments,
        )

    def _rope(self, head_dim: int, context: int) -> dict[str, Any]:
        width = self._size("rope.dimension_count", head_dim)
        parameters: dict[str, Any] = {
            "rope_type": "default",
            "rope_theta": self._take("rope.freq_base", 10_000.0),
            "partial_rotary_factor": width / head_dim,
        }
        kind, factor = self._take("rope.scaling.type", None), self._take("rope.scaling.factor", None)
        original = self._take("rope.scaling.original_context_length", context)
        attention = self._take("rope.scaling.attn_factor", None)
        self._take("rope.scaling.finetuned", None)
        if self._take("rope.scale_linear", None) not in (None, 1.0):
            raise ModelError(f"{self._file.path} sets {self._family}.rope.scale_linear, which is not covered")
        if "rope_factors_short.weight" in self._file.tensors:
            short, long = (self._numbers(f"rope_factors_{which}.weight") for which in ("short", "long"))
            parameters |= {"rope_type": "longrope", "short_factor": short, "long_factor": long}
            parameters |= {
                "original_max_position_embeddings": original,
                "attention_factor": 1.0 if attention is None else attention,
            }
        elif "rope_freqs.weight" in self._file.tensors:  # divisors for texts of any length, which LongRoPE can say
            divisors = self._numbers("rope_freqs.weight")
            parameters |= {"rope_type": "longrope", "short_factor": divisors, "long_factor": divisors}
            parameters |= {"original_max_position_embeddings": context, "attention_factor": 1.0}
        elif kind == "linear":
            parameters |= {"rope_type": "linear", "factor": factor}
        elif kind == "yarn":
            parameters |= {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
            parameters |= self._yarn(factor, attention)
        elif kind not in (None, "none"):
            raise ModelError(f"{self._file.path} scales its rotary embeddings by {kind!r}, which is not covered")
        return parameters

    def _yarn(self, factor: Any, attention: Any) -> dict[str, Any]:
        """llama.cpp multiplies what YaRN scales by with `attn_factor`; transformers takes the product."""
        parameters = {
            name: self._take(f"rope.scaling.yarn_{name}", default) for name, default in (("beta_fast", 32), ("beta_slow", 1))
        }
        if attention not in (None, 1.0) and isinstance(factor, float) and factor > 0:
            parameters["attention_factor"] = attention * (0.1 * math.log(factor) + 1.0)
        return parameters

    def _numbers(self, name: str) -> list[float]:
        tensor = self._file.tensors.get(name)
        if tensor is None or tensor.type_name != "F32" or len(tensor.shape) != 1:
            raise ModelError(f"{self._file.path} holds no vector {name} of F32")
        numbers: list[float] = self._file.rows(tensor, 0, 1).view("<f4")[0].tolist()
        return numbers

    def _size(self, name: str, default: int | None = None) -> int:
        value = self._take(name, default)
        if isinstance(value, (list, LongList)):
            raise ModelError(f"{self._file.path} has another {self._family}.{name} in each layer, which is not covered")
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MAX_SIZE:
            raise ModelError(f"{self._file.path} sets {self._family}.{name} to {value!r}")
        return value

    def _take(self, name: str, default: Any) -> Any:
        return self._left.pop(name, default)
