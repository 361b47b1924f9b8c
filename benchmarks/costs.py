"""What searches cost: wall time, forward passes, the scorer's share, peak memory.

Several searches share one batch, so each step's time is shared among its searches by their live candidates; the shares of a
policy's searches sum to the time of its steps. What cannot be measured is NaN, and null in a line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path

import torch

from ..engine.errors import DataError
from ..engine.language_model import LanguageModel


@dataclass
class Cost:
    """Of one search. `passes`: those that it took part in, its prompt's included. `peak_memory`: bytes, of the process (on a GPU:
    of its allocations), weights and the other searches of the batch included; NaN where other processes hold them."""

    seconds: float = 0.0
    scoring_seconds: float = 0.0
    passes: int = 0
    peak_memory: float = 0.0

    def line(self, tokens: int) -> dict[str, float | None]:
        figures = {
            "tokens": tokens,
            "passes": self.passes,
            "seconds": round(self.seconds, 4),
            "scoring_seconds": round(self.scoring_seconds, 4),
            "peak_memory_mb": round(self.peak_memory / 1e6, 1),
        }
        return {name: None if isnan(figure) else figure for name, figure in figures.items()}


class Meter:
    """Charges what happens within `charging` to searches."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._forget_peak_memory()

    @contextmanager
    def charging(self, costs: Sequence[Cost], weights: Sequence[float]) -> Iterator[None]:
        """Time is shared by `weights`; passes count for each, as does peak memory."""
        before, start = self._model.statistics, time.perf_counter()
        yield
        seconds, after = time.perf_counter() - start, self._model.statistics
        scoring, passes = after.scoring_seconds - before.scoring_seconds, after.passes - before.passes
        total, peak = sum(weights), peak_memory() if after.in_process else nan
        for cost, weight in zip(costs, weights, strict=True):
            cost.seconds += seconds * weight / total
            cost.scoring_seconds += scoring * weight / total
            cost.passes += passes
            cost.peak_memory = max(peak, cost.peak_memory)  # in this order NaN stays

    @contextmanager
    def apart(self) -> Iterator[Cost]:
        """What is not part of any search, such as ranking by prompts: its own cost; searches do not pay for its memory."""
        own = Cost()
        with self.charging([own], [1.0]):
            yield own
        self._forget_peak_memory()

    def _forget_peak_memory(self) -> None:
        if self._model.statistics.in_process:
            forget_peak_memory()


def peak_memory() -> int:
    """Bytes at the most since `forget_peak_memory`. Raises DataError."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    for line in _process_file("status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise DataError("this system does not say how much memory a process used at the most")


def forget_peak_memory() -> None:
    """Begin anew. Raises DataError."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return
    try:
        _process_file("clear_refs").write_text("5")
    except OSError as error:
        raise DataError(f"peak memory cannot be measured on this system: {error}") from error


def _process_file(name: str) -> Path:
    return Path("/proc/self") / name
