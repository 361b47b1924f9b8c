"""Matrices in GGUF's blocks, and products of rows with them.

A block holds 32 or 256 numbers of a row as small integers with a few scales. A `BlockMatrix` keeps these very integers and
scales, in the order in which the kernels read them, and never the floats that they stand for. What it multiplies is rounded, a
row at a time, to 255 levels: products of integers are exact, so a row's result depends neither on the batch nor on the machine.

Not covered: matrices with float blocks (F16, BF16, F32) are rounded to Q8_0 by `quantize_to_q8_0`; other GGML types are refused.
"""

from __future__ import annotations

from ctypes import Structure, byref, c_long, c_void_p
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch

from . import kernels

_CHUNK = 32  # columns


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
    from gguf import GGMLQuantizationType, quantize

    padded = torch.nn.functional.pad(rows.detach().float(), (0, -rows.shape[1] % 32))
    return quantize(padded.numpy(), GGMLQuantizationType.Q8_0)


class QuantizedRows:
    """Rows x [T, K], float32, rounded once for any number of products (`BlockMatrix.times`)."""

    def __init__(self, x: torch.Tensor) -> None:
        x = x.contiguous()
        kernels.require(x.dim() == 2 and min(x.shape) > 0)
        self.count, self.in_features = x.shape
        library = kernels.library()
        size = library.gg_rounded_bytes(self.count, -(-self.in_features // _CHUNK))
        self.memory = torch.empty(size, dtype=torch.uint8, device="cpu")
        library.gg_round(kernels.address(x), *x.shape, self.memory.data_ptr(), torch.get_num_threads())


class BlockMatrix:
    """A matrix [N, K] of blocks of one type: `fill` it, then multiply. About as large as the blocks stored."""

    def __init__(self, out_features: int, in_features: int, kind: BlockType) -> None:
        """Raises ValueError for a type that is not in BLOCK_TYPES, sizes below 1, and a K that blocks of 256 do not fill."""
        self.out_features, self.in_features, self.kind = out_features, in_features, BlockType(kind)
        kernels.require(out_features > 0 and in_features > 0)
        kernels.require(BLOCK_TYPES[self.kind].columns == _CHUNK or in_features % BLOCK_TYPES[self.kind].columns == 0)
        shape = (self.kind, out_features, -(-in_features // _CHUNK))
        library = kernels.library()
        self._planes = torch.zeros(library.gg_plane_bytes(*shape), dtype=torch.uint8, device="cpu")
        self._scales = torch.zeros(library.gg_scale_bytes(*shape), dtype=torch.uint8, device="cpu")
        self.described = _Blocks(*shape, self._planes.data_ptr(), self._scales.data_ptr())

    @property
    def nbytes(self) -> int:
        """The memory that it holds."""
        return self._planes.nbytes + self._scales.nbytes

    def fill(self, first: int, raw: np.ndarray) -> None:
        """Set rows `first`, `first` + 1, ... to stored rows: raw uint8 [n, bytes_of_row(kind, K)], as they stand in a file. Rows
        may come in any order and in pieces; many at once are faster.

        Raises ValueError where rows, bytes or the dtype do not fit.
        """
        kernels.require(raw.dtype == np.uint8 and raw.ndim == 2 and raw.shape[1] == bytes_of_row(self.kind, self.in_features))
        kernels.require(0 <= first <= self.out_features - len(raw))
        if len(raw):
            raw = np.ascontiguousarray(raw)
            threads = torch.get_num_threads()
            kernels.library().gg_pack(byref(self.described), raw.ctypes.data, len(raw), first, threads)

    def times(
        self, x: torch.Tensor | QuantizedRows, bias: torch.Tensor | None = None, out: torch.Tensor | None = None, column: int = 0
    ) -> torch.Tensor:
        """x [T, K] float32 -> x W^T + bias, [T, N]; bias [N] float32.

        Several matrices over the same x share a `QuantizedRows` and write side by side into one `out` [T, >= column + N], float32
        and contiguous, from `column` on; then `out` is returned.
        """
        rows = x if isinstance(x, QuantizedRows) else QuantizedRows(x)
        kernels.require(rows.in_features == self.in_features)
        if out is None:
            out = torch.empty(rows.count, self.out_features, device="cpu")
        start = kernels.address(out) + 4 * column
        kernels.require(out.dim() == 2 and len(out) == rows.count and 0 <= column <= out.shape[1] - self.out_features)
        kernels.require(bias is None or bias.numel() == self.out_features)
        kernels.library().gg_times(
            byref(self.described),
            rows.memory.data_ptr(),
            rows.count,
            None if bias is None else kernels.address(bias),
            start,
            out.shape[1],
            torch.get_num_threads(),
        )
        return out

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows `ids` [n] (int64) as the float32 numbers that they stand for, [n, K], the same to the bit as `gguf.dequantize`.

        Raises IndexError for an id outside [0, N).
        """
        ids = ids.contiguous()
        kernels.require(ids.dtype == torch.int64 and ids.dim() == 1)
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.out_features:
            raise IndexError(f"rows outside [0, {self.out_features})")
        out = torch.empty(len(ids), self.in_features, device="cpu")
        kernels.library().gg_rows(
            byref(self.described), ids.data_ptr(), len(ids), out.data_ptr(), self.in_features, torch.get_num_threads()
        )
        return out


class _Blocks(Structure):
    """`struct blocks` of kernels.h."""

    _fields_ = (
        *((name, c_long) for name in ("type", "outputs", "chunks")),
        *((name, c_void_p) for name in ("planes", "scales")),
    )
