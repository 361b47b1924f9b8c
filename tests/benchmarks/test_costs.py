"""What a batch costs is shared among its searches, and nothing is lost or counted twice."""

from __future__ import annotations

import mmap
from dataclasses import replace
from math import isnan, nan
from types import SimpleNamespace
from typing import Any

import pytest

from guided_gen.benchmarks import costs
from guided_gen.benchmarks.costs import Cost, Meter
from guided_gen.engine.language_model import Statistics

from ..engine.made_up import MadeUpModel


class Model(MadeUpModel):
    def __init__(self, **figures: Any) -> None:
        super().__init__()
        self._figures = Statistics(**figures)

    @property
    def statistics(self) -> Statistics:
        return self._figures

    def work(self, passes: int, scoring_seconds: float = 0.0) -> None:
        before = self._figures
        self._figures = replace(before, passes=before.passes + passes, scoring_seconds=before.scoring_seconds + scoring_seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that shows its only element."""
    now = [0.0]
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_a_step_is_shared_by_weights_and_its_passes_count_for_each(clock: list[float]) -> None:
    model, many, few = Model(), Cost(), Cost()
    meter = Meter(model)
    for _ in range(2):
        with meter.charging([many, few], [3.0, 1.0]):
            clock[0] += 8
            model.work(1, 2.0)
    assert (many.seconds, few.seconds) == (12, 4) and (many.scoring_seconds, few.scoring_seconds) == (3, 1)
    assert many.passes == few.passes == 2
    clock[0] += 100  # between steps: saving, decoding text
    assert many.line(10)["seconds"] == 12


def test_what_stands_apart_is_no_search_s_cost(clock: list[float]) -> None:
    model = Model()
    with Meter(model).apart() as cost:
        clock[0] += 5
        model.work(7)
    assert (cost.seconds, cost.passes) == (5, 7)


def test_peak_memory_is_that_of_the_step() -> None:
    meter, cost, later = Meter(Model()), Cost(), Cost()
    with meter.charging([cost], [1.0]):
        held = mmap.mmap(-1, 200_000_000)  # the heap may hold as much from before
        held.write(b"1" * 200_000_000)
    held.close()
    with meter.apart():
        pass
    with meter.charging([later], [1.0]):
        pass
    assert cost.peak_memory > later.peak_memory + 100_000_000


def test_what_cannot_be_measured_is_null_and_not_nothing(clock: list[float]) -> None:
    model, cost = Model(scoring_seconds=nan, in_process=False), Cost()
    meter = Meter(model)
    for _ in range(2):
        with meter.charging([cost], [1.0]):
            clock[0] += 3
            model.work(1)
    assert isnan(cost.peak_memory)
    assert cost.line(10) == {"tokens": 10, "passes": 2, "seconds": 6, "scoring_seconds": None, "peak_memory_mb": None}
