"""Attention over a pack, as the layouts of the engine's attention function (`engine.tree_attention`) give it.

On a CPU the rows go in blocks, each against only the tokens that some row of the block sees: with depth-first order these are
the block itself and the one path above it, so that the cost grows with tokens x depth, not with tokens squared, and no T x T mask
is made. On CUDA FlexAttention skips the same parts from the mask function alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from ..engine.layout import Layout
from .packing import Pack

BLOCK = 256
"""Rows a block: smaller ones waste less on masked pairs, larger ones make better matrix products."""


def packed_layout(pack: Pack) -> Layout:
    """The layout for the device that the pack is on."""
    return FlexLayout(pack) if pack.ends.device.type == "cuda" else BlockLayout(pack)


class BlockLayout:
    """Scaled-dot-product attention, block of rows after block of rows."""

    def __init__(self, pack: Pack, block: int = BLOCK) -> None:
        order = torch.arange(len(pack), device=pack.ends.device)
        self._blocks: list[tuple[slice, torch.Tensor, torch.Tensor]] = []
        for start in range(0, len(pack), block):
            rows = order[start : start + block]
            seen = torch.nonzero(pack.ends[: start + len(rows)] > start)[:, 0]
            mask = (seen <= rows[:, None]) & (rows[:, None] < pack.ends[seen])
            self._blocks.append((slice(start, start + len(rows)), seen, mask))

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        outputs = [
            scaled_dot_product_attention(
                query[:, :, rows], key[:, :, seen], value[:, :, seen], attn_mask=mask, scale=scale, enable_gqa=grouped
            )
            for rows, seen, mask in self._blocks
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


class FlexLayout:
    """FlexAttention, compiled on CUDA."""

    def __init__(self, pack: Pack) -> None:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        ends, size = pack.ends, len(pack)

        def on_path(batch: Any, head: Any, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            return (column <= row) & (row < ends[column])

        self._mask = create_block_mask(on_path, None, None, size, size, device=ends.device)
        self._attention: Any = torch.compile(flex_attention, dynamic=True) if ends.device.type == "cuda" else flex_attention

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        out: torch.Tensor = self._attention(query, key, value, block_mask=self._mask, scale=scale, enable_gqa=grouped)
        return out.transpose(1, 2)
