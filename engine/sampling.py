"""Sampling: logits to distributions to tokens, for all rows of a step at once.

A row of logits is reduced at once to the tokens that can be drawn (the nucleus) with their probabilities, which is all that any
number of later draws needs. Draws invert the distribution function at a uniform number from randomness.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from .errors import GuidedGenError

# Nuclei are nearly always narrower than the first width; a wider one costs a second, wider selection.
_WIDTHS = (64, 2048)


class SamplingError(GuidedGenError):
    """Sampling settings that make no sense."""


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; `top_k` 0 and `top_p` 1 switch their cuts off. Top-k is cut first, then top-p, as in transformers."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise SamplingError(f"the temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise SamplingError(f"top-p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise SamplingError(f"top-k must be 0 (off) or more, not {self.top_k}")


@dataclass(frozen=True)
class Distributions:
    """What can be drawn from K rows of logits; W is the widest row's number of tokens, the others are padded with probability 0.

    tokens [K, W] int64; cumulative [K, W] float64, ends at 1; logprob [K, W] (model, temperature 1); sample_logprob [K, W];
    entropy, margin, certainty [K]: see `tree.NODE_COLUMNS`.
    """

    tokens: np.ndarray
    cumulative: np.ndarray
    logprob: np.ndarray
    sample_logprob: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    certainty: np.ndarray

    def draw(self, row: int, uniform: float) -> int:
        """The column of the token at which row `row`'s distribution function passes `uniform` in [0, 1)."""
        column = int(np.searchsorted(self.cumulative[row], uniform, side="right"))
        return min(column, self.cumulative.shape[1] - 1)


def distributions(logits: torch.Tensor, sampling: Sampling) -> Distributions:
    """Reduce `logits` [K, V] (any float type, any device) to what `sampling` can draw."""
    logits = logits.float()
    vocabulary = logits.shape[1]
    logprob = torch.log_softmax(logits, dim=-1)
    entropy = -torch.linalg.vecdot(logprob.exp(), logprob.clamp_min(-1e4))  # a masked token has probability 0, not NaN entropy
    certainty = -logprob.clamp_min(-1e4).mean(dim=-1) - math.log(vocabulary)

    if sampling.temperature == 0:
        top, tokens = logprob.topk(2, dim=-1)
        width = 1
        probability = torch.ones_like(top[:, :1], dtype=torch.float64)
        best = top.exp()
    else:
        scaled = logprob / sampling.temperature
        normaliser = torch.logsumexp(scaled, dim=-1, keepdim=True).double()
        width = _narrowest(sampling, vocabulary)
        while True:
            top, tokens = logprob.topk(width, dim=-1)
            probability = (top.double() / sampling.temperature - normaliser).exp()
            if sampling.top_k:
                break
            if width == vocabulary or bool((probability.sum(dim=-1) > sampling.top_p).all()):
                break
            width = next((w for w in _WIDTHS if width < w < vocabulary), vocabulary)
        best = top[:, :2].exp()
        if sampling.top_k:
            probability[:, sampling.top_k :] = 0
            probability = probability / probability.sum(dim=-1, keepdim=True)
        before = probability.cumsum(dim=-1) - probability
        probability = torch.where(before < sampling.top_p, probability, 0.0)  # the token that crosses top-p stays
        probability = probability / probability.sum(dim=-1, keepdim=True)
    cumulative = probability.cumsum(dim=-1)
    cumulative = cumulative / cumulative[:, -1:]  # ends at 1 exactly, so that no draw falls behind the last token
    return Distributions(
        tokens=tokens[:, :width].cpu().numpy(),
        cumulative=cumulative.cpu().numpy(),
        logprob=top[:, :width].cpu().numpy(),
        sample_logprob=probability.log().float().cpu().numpy(),
        entropy=entropy.cpu().numpy(),
        margin=(best[:, 0] - best[:, 1]).cpu().numpy(),
        certainty=certainty.cpu().numpy(),
    )


def _narrowest(sampling: Sampling, vocabulary: int) -> int:
    """The first number of tokens to select; at least 2, for the margin."""
    if sampling.top_k:
        return max(2, min(sampling.top_k, vocabulary))
    if sampling.top_p == 1:
        return vocabulary
    return min(_WIDTHS[0], vocabulary)
