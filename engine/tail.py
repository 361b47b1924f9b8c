"""A value tail: weights that turn the generator's hidden states into the probability that an answer ends up correct.

    shared layers [: fork_layer]  ->  tail layers (tuned copies, none for a probe)  ->  norm  ->  head  ->  sigmoid

The head sees a path as three things: what it emitted at the last token, the running mean of what it emitted at each generated
token so far, and the running mean log-probability. So a token costs one `emit` and the tree carries sums, never states. This
module says what a tail is and how what it emits becomes values; backends run it; training, calibration and storage are the value
model's (`guided_gen.valuemodel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn

from .tree import ROOT, Tree


class PathHead(Protocol):
    """The part of a head that turns what was emitted along a path, `width` numbers a token, into a logit."""

    @property
    def width(self) -> int: ...

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        """last [T, width], mean [T, width] over the path, mean_logprob [T] -> [T], before the sigmoid."""


class Head(PathHead, Protocol):
    """`emit` maps states [T, H] to E numbers a token; `logit` maps a path's numbers to one logit."""

    def emit(self, states: torch.Tensor) -> torch.Tensor:
        """[T, H] -> [T, width]."""


class Tail(nn.Module):
    """Layers, norm and head above the shared `fork_layer`. `layers` are decoder layers of the generator's own class."""

    def __init__(self, fork_layer: int, layers: nn.ModuleList, norm: nn.Module, head: Head) -> None:
        super().__init__()
        self.fork_layer = fork_layer
        self.layers = layers
        self.norm = norm
        self.head = head


class EmittedSums:
    """What a head emitted, `width` numbers a token, summed along the path to each node of one tree; NaN where nothing was."""

    def __init__(self, width: int) -> None:
        self._sums = np.full((64, width), np.nan)

    def add(self, tree: Tree, node: int, emitted: np.ndarray) -> np.ndarray:
        """The sum [width] at `node`, of which the parent's is known and `emitted` its own part."""
        if len(self._sums) < len(tree):
            grown = np.full((2 * len(tree), self._sums.shape[1]), np.nan)
            grown[: len(self._sums)] = self._sums
            self._sums = grown
        parent = int(tree.nodes.parent[node])
        self._sums[node] = emitted + (self._sums[parent] if parent != ROOT else 0)
        return self._sums[node]


def set_values(
    head: PathHead, rows: Sequence[tuple[Tree, EmittedSums, int]], emitted: np.ndarray, device: torch.device | str = "cpu"
) -> None:
    """Fill `tree.nodes.value` at each of `rows`, nodes with their trees and sums, parents first, from what `head` emitted there.

    emitted [rows, width], float64.
    """
    mean = np.empty_like(emitted)
    mean_logprob = np.empty(len(rows))
    for i, (tree, sums, node) in enumerate(rows):
        depth = tree.depth_of(node)
        mean[i] = sums.add(tree, node, emitted[i]) / depth
        mean_logprob[i] = tree.logprob_sum_to(node) / depth
    arrays = (torch.from_numpy(array).float().to(device) for array in (emitted, mean, mean_logprob))
    with torch.inference_mode():
        values = torch.sigmoid(head.logit(*arrays)).cpu().numpy()
    for (tree, _, node), value in zip(rows, values.tolist(), strict=True):
        tree.nodes.value[node] = value
