"""Matrices in GGUF's blocks, and products of rows with them.

A block holds 32 or 256 numbers of a row as small integers with a few scales. A `BlockMatrix` keeps these very integers and
scales, in the order in which the kernels read them, and never the floats that they stand for. What it multiplies is rounded, a
row at a time, to 255 levels: products of integers are exact, so a row's result depends neither on the batch nor on the machine.

Not covered: matrices with float blocks (F16, BF16, F32) are rounded to Q8_0 by `quantize_to_q8_0`; other GGML types are refused.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch


class BlockType(IntEnum):
    """GGML's numbers of the types that are covered, equal to `gguf.GGMLQuantizationType`'s."""

    Q4_0 = 2
    Q5_0 = 6
    Q8_0 = 8
    Q4_K = 12
    Q5_K = 13
    Q6_K = 14


class BlockSize(NamedTuple):
    """How many numbers of a row a block holds, in how many bytes."""

    columns: int
    bytes: int


BLOCK_TYPES = {
    BlockType.Q4_0: BlockSize(32, 18),
    BlockType.Q5_0: BlockSize(32, 22),
    BlockType.Q8_0: BlockSize(32, 34),
    BlockType.Q4_K: BlockSize(256, 144),
    BlockType.Q5_K: BlockSize(256, 176),
    BlockType.Q6_K: BlockSize(256, 210),
}


def bytes_of_row(kind: BlockType, columns: int) -> int:
    """The bytes of a stored row of so many numbers; the last block may be filled up with zeros."""
    size = BLOCK_TYPES[kind]
    return -(-columns // size.columns) * size.bytes


def quantize_to_q8_0(rows: torch.Tensor) -> np.ndarray:
    """Rows [n, K] of any float type -> stored rows of Q8_0, uint8 [n, bytes_of_row(Q8_0, K)]."""
    from gguf.quants import GGMLQuantizationType, quantize

    padded = torch.nn.functional.pad(rows.detach().float(), (0, -rows.shape[1] % 32))
    return quantize(padded.numpy(), GGMLQuantizationType.Q8_0)


class QuantizedRows:
    """Rows x [T, K], float32, rounded once for any number of products (`BlockMatrix.times`)."""

    def __init__(self, x: torch.Tensor) -> None:
        self.x = x


class BlockMatrix:
    """A matrix [N, K] of blocks of one kind: `fill` it, then multiply. About as large as the blocks stored."""

    def __init__(self, out_features: int, in_features: int, kind: BlockType) -> None:
        """Raises ValueError for a kind that is not in BLOCK_TYPES and for sizes below 1."""
        self.out_features, self.in_features, self.kind = out_features, in_features, BlockType(kind)
        self._raw = np.zeros((out_features, bytes_of_row(self.kind, in_features)), np.uint8)

    @property
    def nbytes(self) -> int:
        """The memory that it holds."""
        return self._raw.nbytes

    def fill(self, first: int, raw: np.ndarray) -> None:
        """Set rows `first`, `first` + 1, ... to stored rows: raw uint8 [n, bytes_of_row(kind, K)], as they stand in a file, each
        row dense. Rows may come in any order and in pieces; 16 or more at once, starting at a multiple of 16, is fastest.

        Raises ValueError where rows, bytes or the dtype do not fit.
        """
        if raw.dtype != np.uint8 or raw.ndim != 2 or raw.shape[1] != self._raw.shape[1]:
            raise ValueError("not rows of this kind of block")
        if not 0 <= first <= self.out_features - len(raw):
            raise ValueError("rows beyond the matrix")
        self._raw[first : first + len(raw)] = raw

    def times(
        self, x: torch.Tensor | QuantizedRows, bias: torch.Tensor | None = None, out: torch.Tensor | None = None, column: int = 0
    ) -> torch.Tensor:
        """x [T, K] float32 -> x W^T + bias, [T, N]; bias [N] float32.

        Several matrices over the same x share a `QuantizedRows` and write side by side into one `out` [T, >= column + N], float32
        and contiguous, from `column` on; then `out` is returned.
        """
        rows = x.x if isinstance(x, QuantizedRows) else x
        y = rows @ self.rows(torch.arange(self.out_features)).T
        if bias is not None:
            y += bias
        if out is None:
            return y
        out[:, column : column + self.out_features] = y
        return out

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows `ids` [n] (int64) as the float32 numbers that they stand for, [n, K], the same to the bit as `gguf.dequantize`.

        Raises IndexError for an id outside [0, N).
        """
        from gguf.quants import GGMLQuantizationType, dequantize

        floats = dequantize(self._raw[ids.numpy()], GGMLQuantizationType(self.kind))
        return torch.from_numpy(np.ascontiguousarray(floats[:, : self.in_features], np.float32))
