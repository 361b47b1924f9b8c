"""Sampling: logits to distributions to tokens, for all rows of a step at once.

A row of logits is reduced at once to the tokens that can be drawn (the nucleus) with their probabilities, which is all that any
number of later draws needs. Draws invert the distribution function at a uniform number from randomness.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from .cpu import kernels
from .errors import SettingsError

if TYPE_CHECKING:
    from .grammar import Grammar

# Nuclei are nearly always narrower than the first width; a wider one costs a second, wider selection.
_WIDTHS = (64, 2048)


@dataclass(frozen=True)
class Sampling:
    """`temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 switch their cuts off. Top-k is cut first, then top-p, then
    what is less likely than `min_p` times the most likely token, as in transformers.

    Before that, logits are changed (shaping.py): `bias` has pairs of a token and what is added to its logit; the penalties are
    OpenAI's: subtracted once from each token that the answer holds, and once for each time that it does. A `grammar` says which
    tokens may follow at all. `alternatives`: so many of the model's most likely tokens are kept beside each that is drawn.
    """

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    bias: tuple[tuple[int, float], ...] = ()
    grammar: Grammar | None = None
    alternatives: int = 0

    @property
    def shapes(self) -> bool:
        """Whether tokens are drawn from anything but the model's own logits."""
        return bool(self.bias or self.presence_penalty or self.frequency_penalty or self.grammar)

    @property
    def extras(self) -> list[str]:
        """By name, what it asks for that only a sampler of our own has."""
        asked = {
            "a schema (response_format, tools that must be called)": self.grammar,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.bias,
            "alternatives to a token (top_logprobs)": self.alternatives,
        }
        return [name for name, value in asked.items() if value]

    @property
    def divisor(self) -> float:
        """What logits are divided by: any number where sampling is greedy, and none too small for float32."""
        return max(self.temperature, 1e-30) if self.temperature else 1.0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"):
            if not isinstance(getattr(self, name), int | float):
                raise SettingsError(f"{name} is a number, not {getattr(self, name)!r:.80}")
        if not 0 <= self.temperature < math.inf:
            raise SettingsError(f"the temperature must be 0 or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise SettingsError(f"top-p must be above 0 and at most 1, not {self.top_p}")
        if self.top_k < 0:
            raise SettingsError(f"top-k must be 0 (off) or more, not {self.top_k}")
        if not 0 <= self.min_p <= 1:
            raise SettingsError(f"min-p must be between 0 and 1, not {self.min_p}")
        if not all(map(math.isfinite, (self.presence_penalty, self.frequency_penalty, *(value for _, value in self.bias)))):
            raise SettingsError("penalties and biases are finite numbers")


@dataclass(frozen=True)
class Distributions:
    """What can be drawn from K rows of logits; W is the widest row's number of tokens, the others are padded with probability 0.

    tokens [K, W] int64; cumulative [K, W] float64, ends at 1; logprob [K, W] (model, temperature 1); sample_logprob [K, W];
    entropy, margin, certainty [K]: see `table.NODE_COLUMNS`. alternatives: the model's most likely tokens [K, A] and their
    log-probabilities [K, A], where they are asked for.
    """

    tokens: np.ndarray
    cumulative: np.ndarray
    logprob: np.ndarray
    sample_logprob: np.ndarray
    entropy: np.ndarray
    margin: np.ndarray
    certainty: np.ndarray
    alternatives: tuple[np.ndarray, np.ndarray] | None = None

    def draw(self, row: int, uniform: float) -> int:
        """The column of the token at which row `row`'s distribution function passes `uniform` in [0, 1)."""
        column = int(np.searchsorted(self.cumulative[row], uniform, side="right"))
        return min(column, self.cumulative.shape[1] - 1)


def distributions(logits: torch.Tensor, sampling: Sampling, shaped: torch.Tensor | None = None) -> Distributions:
    """Reduce `logits` [K, V] (finite, any float type, any device) to what `sampling` can draw. `shaped` [K, V], float32: what
    is drawn from, where that is not the model's logits themselves.
    """
    logits = logits.float()
    sums = _Sums.of(logits, sampling.divisor)
    drawn, tempered = (logits, sums.tempered) if shaped is None else (shaped, _Sums.of(shaped, sampling.divisor).tempered)
    top, tokens, probability = _nucleus(drawn, tempered, sampling, _first_width(sampling, logits.shape[1]))
    own = top if shaped is None else logits.gather(1, tokens)
    best = ((top if shaped is None else largest(logits, 2)[0])[:, :2] - sums.normaliser[:, None]).exp()
    if sampling.temperature == 0:
        own, tokens, probability = own[:, :1], tokens[:, :1], torch.ones_like(probability[:, :1])
    probability = probability / probability.sum(dim=-1, keepdim=True)
    cumulative = probability.cumsum(dim=-1)
    cumulative = cumulative / cumulative[:, -1:]  # ends at 1 exactly, so that no draw falls behind the last token
    return Distributions(
        tokens=tokens.cpu().numpy(),
        cumulative=cumulative.cpu().numpy(),
        logprob=(own - sums.normaliser[:, None]).cpu().numpy(),
        sample_logprob=probability.log().float().cpu().numpy(),
        entropy=sums.entropy.cpu().numpy(),
        margin=(best[:, 0] - best[:, 1]).cpu().numpy(),
        certainty=(sums.normaliser - sums.mean - math.log(logits.shape[1])).cpu().numpy(),
        alternatives=_alternatives(logits, sums.normaliser, sampling.alternatives),
    )


def _alternatives(logits: torch.Tensor, normaliser: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray] | None:
    if not count:
        return None
    values, tokens = largest(logits, min(count, logits.shape[1]))
    return tokens.cpu().numpy(), (values - normaliser[:, None]).cpu().numpy()


@dataclass(frozen=True)
class _Sums:
    """Over rows of logits x: log sum e^x, log sum e^((x - largest) / temperature), the entropy of their softmax and their mean;
    each [K].
    """

    normaliser: torch.Tensor
    tempered: torch.Tensor
    entropy: torch.Tensor
    mean: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, temperature: float) -> _Sums:
        if kernels.compute(logits):
            largest, plain, tempered, weighted, total = kernels.sum_up(logits, temperature)
            above = plain.log()
            return cls(largest + above, tempered.log(), above - weighted / plain, total / logits.shape[1])
        normaliser = logits.logsumexp(dim=-1)
        entropy = normaliser - torch.linalg.vecdot(torch.softmax(logits, dim=-1), logits)
        off = logits - logits.amax(dim=-1, keepdim=True)
        return cls(normaliser, (off / temperature).logsumexp(dim=-1), entropy, logits.mean(dim=-1))


def _nucleus(
    logits: torch.Tensor, normaliser: torch.Tensor, sampling: Sampling, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The most likely tokens of each row, as many as the widest row's nucleus has but at least 2, the most likely first.

    `normaliser` [K] is that of the tempered logits less the largest. Returns the tokens' logits, ids and probabilities
    (float64, 0 beyond the nucleus, not yet normalised), each [K, W]. Rows whose nucleus is wider than `width` are selected again,
    they alone.
    """
    vocabulary = logits.shape[1]
    top, tokens = largest(logits, width)
    probability = ((top - top[:, :1]).double() / sampling.divisor - normaliser[:, None]).exp()
    narrow = torch.zeros(len(logits), dtype=torch.bool, device=logits.device)
    if sampling.top_k:
        probability[:, sampling.top_k :] = 0
        probability = probability / probability.sum(dim=-1, keepdim=True)
    elif width < vocabulary and sampling.temperature > 0:
        narrow = probability.sum(dim=-1) <= sampling.top_p
    before = probability.cumsum(dim=-1) - probability
    probability = torch.where(before < sampling.top_p, probability, 0.0)  # the token that crosses top-p stays
    if sampling.min_p:
        probability = torch.where(probability < sampling.min_p * probability[:, :1], 0.0, probability)
    used = max(int((probability > 0).sum(dim=-1).max()), 2)
    top, tokens, probability = top[:, :used], tokens[:, :used], probability[:, :used]
    if bool(narrow.any()):
        wider = next((w for w in _WIDTHS if width < w < vocabulary), vocabulary)
        found = _nucleus(logits[narrow], normaliser[narrow], sampling, wider)
        missing = found[0].shape[1] - used
        padded = [torch.nn.functional.pad(part, (0, max(missing, 0))) for part in (top, tokens, probability)]
        for part, again in zip(padded, found, strict=True):
            part[narrow] = torch.nn.functional.pad(again, (0, max(-missing, 0)))
        top, tokens, probability = padded
    return top, tokens, probability


def largest(logits: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`logits.topk(width)`; few of a large vocabulary by our kernel, where there is one. logits [K, V] -> values, places [K,
    width].
    """
    if kernels.compute(logits) and 8 * width <= logits.shape[1]:
        return kernels.largest(logits, width)
    return logits.topk(width, dim=-1)


def _first_width(sampling: Sampling, vocabulary: int) -> int:
    """The first number of tokens to select; at least 2, for the margin."""
    if sampling.temperature == 0:
        return 2
    if sampling.top_k:
        return max(2, min(sampling.top_k, vocabulary))
    if sampling.top_p == 1:
        return vocabulary
    return min(_WIDTHS[0], vocabulary)
