"""A thread's helpers end when it says so, and come again when it computes."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

import pytest
import torch

from guided_gen.engine.cpu.threads import end_helper_threads

TASKS = Path("/proc/self/task")


@pytest.mark.skipif(
    not TASKS.exists() or not hasattr(ctypes.CDLL(None), "omp_pause_resource_all") or torch.get_num_threads() < 2,
    reason="needs Linux, GNU's OpenMP and two processors",
)
def test_helpers_end_and_come_again() -> None:
    numbers = torch.rand(1 << 22)
    total = numbers.sum()
    before = set(TASKS.iterdir())
    end_helper_threads()
    for _ in range(500):  # they end on their own
        if before - set(TASKS.iterdir()):
            break
        time.sleep(0.01)
    assert before - set(TASKS.iterdir())
    assert torch.equal(numbers.sum(), total)
    assert set(TASKS.iterdir()) - before
