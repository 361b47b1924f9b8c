"""Heads fitted at once find what was planted, on features of any scale."""

from __future__ import annotations

import copy

import pytest
import torch

from guided_gen.valuemodel.heads import HeadSettings, ValueHead
from guided_gen.valuemodel.probe import PathFeatures, fit_head

WIDTH = 6


def planted(count: int, seed: int, law: str = "linear") -> PathFeatures:
    """Labels from a law in features of very different scales and centres."""
    generator = torch.Generator().manual_seed(seed)
    last, mean = (torch.randn(count, WIDTH, generator=generator) for _ in range(2))
    logprob = torch.randn(count, generator=generator)
    z = 2 * last[:, 0] - 2 * mean[:, 3] + logprob if law == "linear" else 6 * last[:, 0] * last[:, 1]
    labels = (torch.rand(count, generator=generator) < torch.sigmoid(z - 1)).float()
    scales = torch.logspace(-2, 3, WIDTH)
    states = {"last": last * scales + 5, "mean": mean * scales - 300}
    return PathFeatures(states, logprob * 0.01 - 0.4, labels, torch.full((count,), 1 / count))


def accuracy(head: ValueHead, data: PathFeatures) -> float:
    with torch.no_grad():
        logits = head.raw_logit(head.emit(data.states["last"]), head.emit(data.states["mean"]), data.mean_logprob)
    return float(((logits > 0) == (data.labels > 0.5)).float().mean())


def test_a_linear_head_finds_a_linear_law() -> None:
    head = ValueHead(WIDTH, HeadSettings(("last", "mean", "logprob")))
    fit_head(head, planted(4000, 0), planted(2000, 1))
    best_possible = 0.83  # of a logit of standard deviation 3: what the true law itself reaches
    assert accuracy(head, planted(4000, 2)) > best_possible - 0.02


def test_hidden_units_find_what_no_line_can() -> None:
    found = {}
    for hidden in (0, 8):
        head = ValueHead(WIDTH, HeadSettings(("last", "mean"), hidden=hidden))
        fit_head(head, planted(4000, 0, "product"), planted(2000, 1, "product"))
        found[hidden] = accuracy(head, planted(4000, 2, "product"))
    assert found[8] > found[0] + 0.15


def test_with_nothing_to_find_a_head_predicts_the_base_rate() -> None:
    data, held_out = planted(300, 0), planted(300, 1)
    for side, seed in ((data, 5), (held_out, 6)):
        side.labels.copy_((torch.rand(300, generator=torch.Generator().manual_seed(seed)) < 0.2).float())
    head = ValueHead(WIDTH, HeadSettings(("last", "mean")))
    fitted = copy.deepcopy(held_out)
    fit_head(head, data, held_out)
    with torch.no_grad():
        values = torch.sigmoid(
            head.raw_logit(head.emit(fitted.states["last"]), head.emit(fitted.states["mean"]), fitted.mean_logprob)
        )
    assert float(values.mean()) == pytest.approx(0.2, abs=0.06) and float(values.std()) < 0.06
