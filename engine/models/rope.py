"""Frequencies of rotary embeddings, of the kinds that the covered families use.

Parameters are those of transformers' `rope_parameters` (`rope_type`, `rope_theta`, ...), and so are the numbers
(transformers/modeling_rope_utils.py). LongRoPE has two sets of frequencies: one for texts up to the length that the model was
first trained on, one for longer ones. Which of them a text is read with is chosen once for the whole text, by who reads it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import ModelError

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Frequencies:
    """What positions are multiplied by: `short` [r / 2], and other numbers, `long`, for texts of more than `original_context`
    tokens, if the model has any.

    `scale` multiplies cosines and sines.
    """

    short: torch.Tensor
    long: torch.Tensor | None = None
    original_context: int | None = None
    scale: float = 1.0


class Rotary(nn.Module):
    """Cosines and sines of rotary embeddings. `original_context`: the longest text that is not read by the long frequencies."""

    short: torch.Tensor
    long: torch.Tensor | None

    def __init__(self, found: Frequencies) -> None:
        super().__init__()
        self.original_context, self._scale = found.original_context, found.scale
        self.register_buffer("short", found.short, persistent=False)
        self.register_buffer("long", found.long, persistent=False)

    @torch.no_grad()
    def forward(
        self, x: torch.Tensor, position_ids: torch.Tensor, is_long: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions [1, T], and whether each belongs to a long text, [T] -> two of [1, T, r], in the dtype of `x`."""
        inverse = self.short
        if is_long is not None and self.long is not None:
            inverse = torch.where(is_long[:, None], self.long, self.short)
        angles = (position_ids[..., None].float() * inverse).repeat(1, 1, 2)
        return (angles.cos() * self._scale).to(x.dtype), (angles.sin() * self._scale).to(x.dtype)


def frequencies(parameters: Parameters, head_dim: int, context: int) -> Frequencies:
    """The frequencies for heads of `head_dim` numbers, in a model whose context holds `context` tokens. Raises ModelError."""
    kind = str(parameters.get("rope_type", "default"))
    if kind not in _KINDS:
        raise ModelError(f"rotary embeddings of type {kind!r} are not covered; {', '.join(_KINDS)} are")
    width = int(head_dim * _number(parameters, "partial_rotary_factor", 1.0) + 1e-6)
    if width % 2 or not 2 <= width <= head_dim:
        raise ModelError(f"rotary embeddings cannot turn {width} of a head's {head_dim} numbers")
    base = _number(parameters, "rope_theta")
    exponents = torch.arange(0, width, 2, dtype=torch.int64).float() / width
    found = _KINDS[kind](1.0 / base**exponents, parameters, base, context)
    if not all(torch.isfinite(part).all() for part in (found.short, found.long) if part is not None):
        raise ModelError("the parameters of its rotary embeddings give no finite frequencies")
    return found


def _plain(inverse: torch.Tensor, parameters: Parameters, base: float, context: int) -> Frequencies:
    return Frequencies(inverse)


def _linear(inverse: torch.Tensor, parameters: Parameters, base: float, context: int) -> Frequencies:
    return Frequencies(inverse / _number(parameters, "factor"))


def _llama3(inverse: torch.Tensor, parameters: Parameters, base: float, context: int) -> Frequencies:
    factor, low, high = (_number(parameters, name) for name in ("factor", "low_freq_factor", "high_freq_factor"))
    original = _number(parameters, "original_max_position_embeddings")
    if high == low:
        raise ModelError("llama3's low_freq_factor and high_freq_factor are equal")
    length = 2 * math.pi / inverse
    smooth = (original / length - low) / (high - low)
    between = (1 - smooth) * inverse / factor + smooth * inverse
    scaled = torch.where(length > original / low, inverse / factor, between)
    return Frequencies(torch.where(length < original / high, inverse, scaled))


def _yarn(inverse: torch.Tensor, parameters: Parameters, base: float, context: int) -> Frequencies:
    original = _number(parameters, "original_max_position_embeddings")
    factor = _number(parameters, "factor", context / original)
    width = 2 * len(inverse)

    def turning(rotations: float) -> float:
        """The dimension that turns so often within the original context."""
        return width * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    first, last = turning(_number(parameters, "beta_fast", 32)), turning(_number(parameters, "beta_slow", 1))
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    if first == last:
        last += 0.001
    ramp = ((torch.arange(width // 2).float() - first) / (last - first)).clamp(0, 1)
    scale = _number(parameters, "attention_factor", 0.0) or _yarn_scale(parameters, factor)
    return Frequencies(inverse / factor * ramp + inverse * (1 - ramp), scale=scale)


def _yarn_scale(parameters: Parameters, factor: float) -> float:
    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    weight, weight_all = (_number(parameters, name, 0.0) for name in ("mscale", "mscale_all_dim"))
    return scale(weight) / scale(weight_all) if weight and weight_all else scale(1.0)


def _longrope(inverse: torch.Tensor, parameters: Parameters, base: float, context: int) -> Frequencies:
    original = _number(parameters, "original_max_position_embeddings")
    factor = _number(parameters, "factor", context / original)
    fallback = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    scale = _number(parameters, "attention_factor", fallback)
    short, long = (_divided(inverse, parameters, name) for name in ("short_factor", "long_factor"))
    return Frequencies(short, scale=scale) if torch.equal(short, long) else Frequencies(short, long, int(original), scale)


def _divided(inverse: torch.Tensor, parameters: Parameters, name: str) -> torch.Tensor:
    divisors = parameters.get(name)
    if not isinstance(divisors, (list, tuple)) or len(divisors) != len(inverse):
        raise ModelError(f"the {name} of its rotary embeddings are not {len(inverse)} numbers")
    return inverse / torch.tensor(divisors, dtype=torch.float32)


def _number(parameters: Parameters, name: str, default: float | None = None) -> float:
    value = parameters.get(name)
    if value is None:
        value = default
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value < math.inf
        or (value == 0 and default != 0)
    ):
        raise ModelError(f"the {name} of its rotary embeddings is {value!r}")
    return float(value)


# Within the context that a model's configuration names, which is as far as texts are read, `dynamic` changes nothing.
_KINDS: dict[str, Callable[[torch.Tensor, Parameters, float, int], Frequencies]] = {
    "default": _plain,
    "dynamic": _plain,
    "linear": _linear,
    "llama3": _llama3,
    "longrope": _longrope,
    "yarn": _yarn,
}
