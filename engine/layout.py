"""What the tokens of one step attend to: the interface between a model's layers and whoever holds the cache."""

from __future__ import annotations

from typing import Protocol

import torch


class Layout(Protocol):
    """What a step's tokens attend to, and where their keys and values go."""

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """query [1, heads, T, d], key and value [1, kv_heads, T, d] -> [1, T, heads, d]."""
