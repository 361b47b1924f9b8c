"""Heads fitted in one convex go: L-BFGS with an L2 penalty on standardised features, instead of many small steps.

This is all the training that a probe needs (`--tune head`), and where a head above tuned layers begins (linear probing, then
fine-tuning: Kumar et al. 2022). A head with hidden units is fitted the same way, to a local optimum.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, linear

from ..engine.progress import stage
from .examples import Example, States, join_examples
from .heads import ValueHead
from .metrics import cross_entropy, fit_platt
from .model import ValueModel
from .packing import path_means

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Tried in turn, each from where the last ended; validation problems choose."""
_MOST_NODES = 120_000
_STEPS = 100


@dataclass(frozen=True)
class PathFeatures:
    """What a head reads at S places: `states`, for each of its state features [S, H]; mean_logprob, labels, weights [S]."""

    states: dict[str, torch.Tensor]
    mean_logprob: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


@torch.no_grad()
def path_features(model: ValueModel, examples: Sequence[Example], states: States, most: int = _MOST_NODES) -> PathFeatures:
    """Features at about `most` places, drawn evenly from the weight of all examples (systematic sampling within each)."""
    device = next(model.tail.norm.parameters()).device
    total = sum(float(example.weights.sum()) for example in examples)
    features = model.settings.head.state_features
    parts: list[tuple[torch.Tensor, ...]] = []
    with stage(f"Reading {len(examples)} trees for the head", total=float(len(examples))) as advance:
        for i, example in enumerate(examples):
            batch = join_examples([example], states, device)
            hidden = model.tail_states(batch.states, batch.pack).float()
            share = float(example.weights.sum()) / total
            rows, counts = _systematic(example.weights.double().numpy(), max(round(most * share), 1), seed=i)
            chosen = torch.from_numpy(rows).to(device)
            weights = torch.from_numpy(counts / counts.sum() * share).float().to(device)
            read = [hidden if feature == "last" else path_means(hidden, batch.pack) for feature in features]
            parts.append((*(column[chosen] for column in (*read, batch.mean_logprob, batch.labels)), weights))
            advance(i + 1)
    *columns, mean_logprob, labels, sampled = (torch.cat(column) for column in zip(*parts, strict=True))
    return PathFeatures(dict(zip(features, columns, strict=True)), mean_logprob, labels, sampled)


def _systematic(weights: np.ndarray, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and how often each was drawn, in `draws` equal steps through the sum of the weights."""
    start = np.random.default_rng([seed]).random()
    edges = np.cumsum(weights)
    drawn = np.searchsorted(edges, (start + np.arange(draws)) / draws * edges[-1], side="right")
    return np.unique(np.minimum(drawn, len(weights) - 1), return_counts=True)


def fit_head(head: ValueHead, train: PathFeatures, validation: PathFeatures) -> dict[str, float]:
    """Fit `head` in place, and scale the features of both in place, since they are large. Returns the penalty that validation
    chose and the losses (nats a place) with it."""
    scaler = _Scaler(train)
    train, validation = scaler.scaled(train), scaler.scaled(validation)
    working = _fresh(head, train)
    best: dict[str, float] = {}
    # Hidden units begin unpenalised: at zero, where a strong penalty puts them, they have no slope to leave by.
    for penalty in PENALTIES if head.out is None else PENALTIES[::-1]:
        _minimise(working, train, penalty)
        with torch.no_grad():
            loss = float(_loss(working, train))
            logits = _logits(working, validation).double().cpu().numpy()
        labels, weights = (column.double().cpu().numpy() for column in (validation.labels, validation.weights))
        scale, shift = fit_platt(logits, labels, weights)
        validation_loss = float(np.average(cross_entropy(scale * logits + shift, labels), weights=weights))
        if not best or validation_loss < best["validation_loss"]:
            best = {"penalty": penalty, "training_loss": loss, "validation_loss": validation_loss}
            chosen = copy.deepcopy(working)
    scaler.fold_into(chosen)
    head.load_state_dict(chosen.state_dict())
    return best


def _fresh(head: ValueHead, train: PathFeatures) -> ValueHead:
    """A head of the same form that predicts the base rate; hidden units begin in random directions."""
    torch.manual_seed(0)
    new = ValueHead(head.project.in_features, head.settings).to(train.labels.device)
    rate = torch.logit(((train.labels * train.weights).sum() / train.weights.sum()).clamp(1e-4, 1 - 1e-4))
    with torch.no_grad():
        if new.out is None:
            new.bias.fill_(rate)
        else:
            new.out.bias.fill_(rate)
            torch.nn.init.normal_(new.out.weight, std=head.units**-0.5)
    return new


def _minimise(head: ValueHead, data: PathFeatures, penalty: float) -> None:
    # The log-probability is but one number, and needs no penalty.
    penalised = [head.project.weight, *([head.out.weight] if head.out is not None else [])]
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=_STEPS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = _loss(head, data) + penalty / 2 * torch.stack([parameter.square().sum() for parameter in penalised]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[arg-type,no-untyped-call]


def _logits(head: ValueHead, data: PathFeatures) -> torch.Tensor:
    emitted = torch.cat([linear(data.states[name], head.weight_of(name)) for name in head.settings.state_features], dim=1)
    return head.raw_logit(emitted, emitted, data.mean_logprob)


def _loss(head: ValueHead, data: PathFeatures) -> torch.Tensor:
    loss = binary_cross_entropy_with_logits(_logits(head, data), data.labels, weight=data.weights, reduction="sum")
    return loss / data.weights.sum()


class _Scaler:
    """Centres and scales features by their weighted mean and deviation, and takes both back into a head's own weights."""

    def __init__(self, data: PathFeatures) -> None:
        share = (data.weights / data.weights.sum())[:, None]
        self._moments = {}
        for name, column in _columns(data):
            centre = (share * column).sum(0)
            self._moments[name] = centre, (share * (column - centre).square()).sum(0).sqrt().clamp_min(1e-6)

    def scaled(self, data: PathFeatures) -> PathFeatures:
        for name, column in _columns(data):
            centre, deviation = self._moments[name]
            column.sub_(centre).div_(deviation)
        return data

    @torch.no_grad()
    def fold_into(self, head: ValueHead) -> None:
        for name in head.settings.state_features:
            centre, deviation = self._moments[name]
            weight = head.weight_of(name)
            weight /= deviation
            head.bias.sub_(weight @ centre)
        if head.logprob_weight is not None:
            centre, deviation = self._moments["logprob"]
            head.logprob_weight.div_(deviation[0])
            head.bias.sub_(head.logprob_weight * centre[0])


def _columns(data: PathFeatures) -> list[tuple[str, torch.Tensor]]:
    """Every feature as a matrix that shares its memory."""
    return [*data.states.items(), ("logprob", data.mean_logprob[:, None])]
