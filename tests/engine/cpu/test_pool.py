"""The kernels' threads: they share tasks from any thread, survive a fork, and rest when there is nothing to do."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.blocks import BlockMatrix, BlockType, quantize_to_q8_0

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def matrix() -> BlockMatrix:
    packed = BlockMatrix(3000, 512, BlockType.Q8_0)
    packed.fill(0, quantize_to_q8_0(torch.randn(3000, 512)))
    return packed


def alone(matrix: BlockMatrix, x: torch.Tensor) -> torch.Tensor:
    torch.set_num_threads(1)
    product = matrix.times(x)
    torch.set_num_threads(3)
    return product


def test_any_number_of_threads_gives_the_same(matrix: BlockMatrix) -> None:
    for rows in (1, 5, 70):
        x = torch.randn(rows, 512)
        expected = alone(matrix, x)
        assert all(torch.equal(matrix.times(x), expected) for _ in range(200 // rows))


def test_several_callers_compute_at_once(matrix: BlockMatrix) -> None:
    inputs = [torch.randn(3, 512) for _ in range(6)]
    expected = [alone(matrix, x) for x in inputs]
    with ThreadPoolExecutor(6) as callers:
        for found in [list(callers.map(matrix.times, inputs)) for _ in range(30)]:
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_forked_process_computes_too(matrix: BlockMatrix) -> None:
    x = torch.randn(2, 512)
    expected = matrix.times(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if (matrix.times(x) == expected).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_idle_threads_sleep(matrix: BlockMatrix) -> None:
    matrix.times(torch.randn(5, 512))
    time.sleep(0.1)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25
