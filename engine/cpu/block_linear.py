"""Layers over matrices in GGUF's blocks (blocks.py), filled from a model's files a piece at a time.

A matrix that is stored in blocks keeps them as they are; one of floats is rounded to Q8_0. In either case no more than a piece of
it is held beside the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import nn

from ..models.tensors import StoredMatrix
from .blocks import BlockMatrix, BlockType, QuantizedRows, quantize_to_q8_0


def block_type(stored: StoredMatrix) -> BlockType:
    """Of the blocks that a stored matrix is held in."""
    return BlockType.Q8_0 if stored.block_type is None else BlockType(stored.block_type)


def block_matrix(together: Sequence[StoredMatrix]) -> BlockMatrix:
    """Matrices of equal width and blocks as one, their rows one behind the other."""
    matrix = BlockMatrix(sum(stored.shape[0] for stored in together), together[0].shape[1], block_type(together[0]))
    start = 0
    for stored in together:
        if stored.block_type is None:
            for first, floats in stored.floats():
                matrix.fill(start + first, quantize_to_q8_0(floats))
        else:
            for first, blocks in stored.blocks():
                matrix.fill(start + first, blocks)
        start += stored.shape[0]
    return matrix


class BlockLinear(nn.Module):
    """One or more linear layers over the same input, x [..., K] -> [..., N]: their outputs stand one behind the other.

    `bias` [N] is that of all of them.
    """

    bias: torch.Tensor | None

    def __init__(self, matrices: Sequence[BlockMatrix], bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.in_features, self.out_features = matrices[0].in_features, sum(matrix.out_features for matrix in matrices)
        self.register_buffer("bias", bias)
        self.parts: list[tuple[BlockMatrix, int]] = []  # each with where its outputs begin
        column = 0
        for matrix in matrices:
            self.parts.append((matrix, column))
            column += matrix.out_features

    @classmethod
    def of(cls, stored: Sequence[StoredMatrix], bias: torch.Tensor | None = None) -> BlockLinear:
        """Neighbours in blocks of the same type become one matrix."""
        return cls([block_matrix(list(together)) for _, together in groupby(stored, block_type)], bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = QuantizedRows(x.reshape(-1, self.in_features))
        out = x.new_empty(rows.count, self.out_features)
        for matrix, column in self.parts:
            bias = None if self.bias is None else self.bias[column : column + matrix.out_features]
            matrix.times(rows, bias, out, column)
        return out.view(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class BlockEmbedding(nn.Module):
    """An embedding table, ids [...] -> float32 [..., H]; a tied LM head multiplies by the same `matrix`."""

    def __init__(self, matrix: BlockMatrix) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.matrix.rows(ids.flatten()).view(*ids.shape, -1)
