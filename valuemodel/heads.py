"""Heads: from the states along a path to one logit.

    z = last . W_last + mean . W_mean + mean_logprob * w + b        logit = z, or v . gelu(z) + c for a head with hidden units

Features: `last`, the tail's state at the token (the paper); `mean`, its running mean from the first generated token on;
`logprob`, the running mean log-probability. W . mean(h) = mean(W . h), so a token emits W . h, a few numbers, and no state is
ever carried.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import gelu

from .made_for import ValueModelError

FEATURES = ("last", "mean", "logprob")


@dataclass(frozen=True)
class HeadSettings:
    """`features`: some of FEATURES, at least one of them a state. `hidden`: units of the hidden layer, 0 for a linear head."""

    features: tuple[str, ...] = ("mean", "logprob")
    hidden: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.features if name not in FEATURES]
        if unknown:
            raise ValueModelError(f"a head has no feature {unknown[0]!r}; there are {', '.join(FEATURES)}")
        if not self.state_features:
            raise ValueModelError("a head reads at least one of the features last and mean")
        if self.hidden < 0:
            raise ValueModelError(f"a head has 0 or more hidden units, not {self.hidden}")
        object.__setattr__(self, "features", tuple(name for name in FEATURES if name in self.features))

    @property
    def state_features(self) -> tuple[str, ...]:
        return tuple(name for name in FEATURES[:2] if name in self.features)


class ValueHead(nn.Module):
    """A `engine.tail.Head`: `emit` maps states to numbers, `logit` a path's numbers to the calibrated logit.

    `calibration` is (scale, shift) of Platt's method, (1, 0) until it is fitted; `raw_logit` is what training works on.
    """

    calibration: torch.Tensor

    def __init__(self, hidden_size: int, settings: HeadSettings) -> None:
        super().__init__()
        self.settings = settings
        self.units = settings.hidden or 1
        self.width = self.units * len(settings.state_features)
        self.project = nn.Linear(hidden_size, self.width, bias=False)
        self.bias = nn.Parameter(torch.zeros(self.units))
        self.logprob_weight = nn.Parameter(torch.zeros(self.units)) if "logprob" in settings.features else None
        self.out = nn.Linear(self.units, 1) if settings.hidden else None
        # What the first steps do is then the data's doing, not that of a random projection of large states.
        last = self.out if self.out is not None else self.project
        nn.init.zeros_(last.weight)
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def _part(self, feature: str) -> slice:
        """Which of the emitted numbers are the feature's."""
        i = self.settings.state_features.index(feature)
        return slice(i * self.units, (i + 1) * self.units)

    def weight_of(self, feature: str) -> torch.Tensor:
        """The rows of the projection that read a state feature, [units, H]; changes to it change the head."""
        return self.project.weight[self._part(feature)]

    def emit(self, states: torch.Tensor) -> torch.Tensor:
        """[T, H], of any float type -> [T, width] float32."""
        out: torch.Tensor = self.project(states.float())
        return out

    def raw_logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        """last [T, width], mean [T, width] over the path, mean_logprob [T] -> [T], before calibration and sigmoid."""
        z = self.bias.expand(len(last), self.units)
        for feature in self.settings.state_features:
            z = z + (last if feature == "last" else mean)[:, self._part(feature)]
        if self.logprob_weight is not None:
            z = z + mean_logprob[:, None] * self.logprob_weight
        if self.out is None:
            return z[:, 0]
        out: torch.Tensor = self.out(gelu(z))
        return out[:, 0]

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        """As `raw_logit`, calibrated."""
        scale, shift = self.calibration
        calibrated: torch.Tensor = self.raw_logit(last, mean, mean_logprob) * scale + shift
        return calibrated
