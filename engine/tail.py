"""A value tail: weights that turn the generator's hidden states into the probability that an answer ends up correct.

    shared layers [: fork_layer]  ->  tail layers (tuned copies, none for a probe)  ->  norm  ->  head  ->  sigmoid

The head sees a path as three things: what it emitted at the last token, the running mean of what it emitted at each generated
token so far, and the running mean log-probability. So a token costs one `emit` and the tree carries sums, never states. This
module runs tails; training, calibration and storage are the value model's (`guided_gen.valuemodel`).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn


class Head(Protocol):
    """`emit` maps states [T, H] to E numbers a token; `logit` maps a path's numbers to one logit."""

    width: int

    def emit(self, states: torch.Tensor) -> torch.Tensor:
        """[T, H] -> [T, width]."""

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        """last [T, width], mean [T, width] over the path, mean_logprob [T] -> [T], before the sigmoid."""


class Tail(nn.Module):
    """Layers, norm and head above the shared `fork_layer`. `layers` are decoder layers of the generator's own class."""

    def __init__(self, fork_layer: int, layers: nn.ModuleList, norm: nn.Module, head: Head) -> None:
        super().__init__()
        self.fork_layer = fork_layer
        self.layers = layers
        self.norm = norm
        self.head = head
