"""Eight-bit matrices, whose inputs are rounded a token at a time.

    x = a q    W[n] = b[n] w[n]    x . W[n] = a b[n] (q . w[n])    |q| <= 127, |w| <= 64

`a` belongs to a token and `b` to an output channel, so no token's result depends on the rest of the batch, and the integer
products are exact. Without VNNI the instruction that multiplies bytes adds two products in 16 bits: 2 x 255 x 64 fits (q is
stored from 0 on, with a zero point of 128) and 2 x 255 x 127 does not. So weights take seven bits, which costs less than taking
the bit from the activations (docs/int8.md has the measurements), and every CPU computes the same product of the same integers.

The products are those of our own kernels (kernels.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from ..errors import GuidedGenError
from ..models.stored_tensors import StoredMatrix
from . import kernels

_WEIGHT_LEVELS = 64
_PIECE = 4096  # rows that are quantised at once: a vocabulary's matrix in float32 is large
_TINY = 1e-30  # a channel of zeros has some scale, too


class Int8Error(GuidedGenError):
    """A model or a machine that the int8 path does not cover."""


def int8_supported() -> bool:
    """Whether this machine has the kernels: compiled, and an x86-64 CPU with AVX2 or better."""
    return bool(kernels.levels())


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and activations, x [..., K] -> [..., N].

    Made from the weights [n, K] and biases [n] (or None) of one or more float layers over the same input, whose outputs then
    stand one behind the other.
    """

    bias: torch.Tensor | None

    def __init__(self, weights: Sequence[torch.Tensor | StoredMatrix], biases: Sequence[torch.Tensor | None]) -> None:
        super().__init__()
        sizes = [weight.shape[0] for weight in weights]
        self.in_features, self.out_features = weights[0].shape[1], sum(sizes)
        self._matrix = kernels.Int8Matrix(self.out_features, self.in_features)
        first = 0
        for weight in weights:
            for quantized, scale in _quantized(weight, _WEIGHT_LEVELS):
                self._matrix.fill(first, quantized, scale)
                first += len(scale)
        bias = None
        if any(own is not None for own in biases):
            bias = torch.cat([torch.zeros(n) if own is None else own.float() for n, own in zip(sizes, biases, strict=True)])
        self.register_buffer("bias", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._matrix.times(x.reshape(-1, self.in_features), self.bias).view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


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


def quantize_rows(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Symmetric integers with a scale a row: float [N, K] -> int8 [N, K] in [-levels, levels], float32 [N]."""
    quantized, scales = zip(*_quantized(weight, levels), strict=True)
    return torch.cat(quantized), torch.cat(scales)


@torch.no_grad()
def _quantized(weight: torch.Tensor | StoredMatrix, levels: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """As `quantize_rows`, some rows at a time."""
    for start in range(0, weight.shape[0], _PIECE):
        piece = weight[start : start + _PIECE].float()
        scale = piece.abs().amax(1).clamp_(min=_TINY).div_(levels)
        yield (piece / scale[:, None]).round_().to(torch.int8), scale
