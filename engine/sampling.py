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
_COLUMN = 64  # tokens of which only the largest logit is looked at first


class SamplingError(GuidedGenError):
    """Sampling settings that make no sense."""


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; `top_k` 0 and `top_p` 1 switch their cuts off. Top-k is cut first, then top-p, as in
    transformers.
    """

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
    """Reduce `logits` [K, V] (finite, any float type, any device) to what `sampling` can draw."""
    logits = logits.float()
    plain = torch.softmax(logits, dim=-1)
    tempered = plain if sampling.temperature in (0, 1) else torch.softmax(logits / sampling.temperature, dim=-1)
    top, tokens, probability = _nucleus(logits, tempered, sampling, _first_width(sampling, logits.shape[1]))
    best = plain.gather(1, tokens[:, :2])
    normaliser = top[:, 0] - best[:, 0].log()
    if sampling.temperature == 0:
        top, tokens, probability = top[:, :1], tokens[:, :1], torch.ones_like(probability[:, :1])
    probability = probability / probability.sum(dim=-1, keepdim=True)
    cumulative = probability.cumsum(dim=-1)
    cumulative = cumulative / cumulative[:, -1:]  # ends at 1 exactly, so that no draw falls behind the last token
    return Distributions(
        tokens=tokens.cpu().numpy(),
        cumulative=cumulative.cpu().numpy(),
        logprob=(top - normaliser[:, None]).cpu().numpy(),
        sample_logprob=probability.log().float().cpu().numpy(),
        entropy=(normaliser - torch.linalg.vecdot(plain, logits)).cpu().numpy(),
        margin=(best[:, 0] - best[:, 1]).cpu().numpy(),
        certainty=(normaliser - logits.mean(dim=-1) - math.log(logits.shape[1])).cpu().numpy(),
    )


def _nucleus(
    logits: torch.Tensor, tempered: torch.Tensor, sampling: Sampling, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The most likely tokens of each row, as many as the widest row's nucleus has but at least 2, the most likely first.

    Returns their logits, their ids and their probabilities (float64, 0 beyond the nucleus, not yet normalised), each [K, W]. Rows
    whose nucleus is wider than `width` are selected again, they alone.
    """
    vocabulary = logits.shape[1]
    top, tokens = largest(logits, width)
    probability = tempered.gather(1, tokens).double()
    narrow = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    if sampling.top_k:
        probability[:, sampling.top_k :] = 0
        probability = probability / probability.sum(dim=-1, keepdim=True)
    elif width < vocabulary and sampling.temperature > 0:
        narrow = probability.sum(dim=-1) <= sampling.top_p
    before = probability.cumsum(dim=-1) - probability
    probability = torch.where(before < sampling.top_p, probability, 0.0)  # the token that crosses top-p stays
    used = max(int((probability > 0).sum(dim=-1).max()), 2)
    top, tokens, probability = top[:, :used], tokens[:, :used], probability[:, :used]
    if bool(narrow.any()):
        wider = next((w for w in _WIDTHS if width < w < vocabulary), vocabulary)
        found = _nucleus(logits[narrow], tempered[narrow], sampling, wider)
        missing = found[0].shape[1] - used
        padded = [torch.nn.functional.pad(part, (0, max(missing, 0))) for part in (top, tokens, probability)]
        for part, again in zip(padded, found, strict=True):
            part[narrow] = torch.nn.functional.pad(again, (0, max(-missing, 0)))
        top, tokens, probability = padded
    return top, tokens, probability


def largest(logits: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`logits.topk(width)`; few of a large vocabulary are found in a quarter of its time on a CPU.

    The vocabulary is laid out in columns: the `width` columns with the largest maxima hold the `width` largest logits. What fills
    no column is looked at with them.
    """
    columns = logits.shape[1] // _COLUMN
    if 8 * width > columns:
        return logits.topk(width, dim=-1)
    ids = torch.arange(logits.shape[1], device=logits.device)
    laid_out = logits[:, : _COLUMN * columns].view(len(logits), _COLUMN, columns)
    best = laid_out.amax(dim=1).topk(width, dim=-1).indices[:, None]
    theirs = laid_out.gather(2, best.expand(-1, _COLUMN, -1)).flatten(1)
    their_ids = (best + columns * ids[:_COLUMN, None]).flatten(1)
    rest, rest_ids = logits[:, _COLUMN * columns :], ids[_COLUMN * columns :].expand(len(logits), -1)
    top, place = torch.cat([theirs, rest], dim=1).topk(width, dim=-1)
    return top, torch.cat([their_ids, rest_ids], dim=1).gather(1, place)


def _first_width(sampling: Sampling, vocabulary: int) -> int:
    """The first number of tokens to select; at least 2, for the margin."""
    if sampling.temperature == 0:
        return 2
    if sampling.top_k:
        return max(2, min(sampling.top_k, vocabulary))
    if sampling.top_p == 1:
        return vocabulary
    return min(_WIDTHS[0], vocabulary)
