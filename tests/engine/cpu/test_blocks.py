"""Products with matrices of GGUF's blocks, at every level of instructions that this machine has, against gguf's own numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.blocks import BLOCK_TYPES, BlockMatrix, BlockType, QuantizedRows, bytes_of_row, quantize_to_q8_0

from .levels import on_all_levels

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")

_HALVES = {BlockType.Q6_K: (208,), BlockType.Q4_K: (0, 2), BlockType.Q5_K: (0, 2)}  # where a block's float16 scales are


@pytest.fixture(autouse=True)
def best_level() -> Iterator[None]:
    yield
    kernels.use(kernels.levels()[-1])


def stored(kind: BlockType, rows: int, columns: int, seed: int) -> np.ndarray:
    """Any bits at all, but for scales that are numbers: uint8 [rows, bytes]."""
    rng, size = np.random.default_rng(seed), BLOCK_TYPES[kind]
    raw = rng.integers(0, 256, (rows, columns // size.columns, size.bytes), dtype=np.uint8)
    for at in _HALVES.get(kind, (0,)):
        scales = rng.standard_normal((*raw.shape[:2], 1)) * 10.0 ** rng.integers(-6, 2, (*raw.shape[:2], 1))
        raw[:, :, at : at + 2] = scales.astype(np.float16).view(np.uint8)
    return raw.reshape(rows, -1)


def matrix(kind: BlockType, raw: np.ndarray, columns: int) -> BlockMatrix:
    """Filled in two pieces, the second first."""
    packed, half = BlockMatrix(len(raw), columns, kind), len(raw) // 2
    packed.fill(half, raw[half:])
    packed.fill(0, raw[:half])
    return packed


def rounded(x: torch.Tensor) -> torch.Tensor:
    """x [T, K] as the kernels round it: 255 levels for each 256 columns; float64."""
    grouped = torch.nn.functional.pad(x, (0, -x.shape[1] % 256)).view(len(x), -1, 256)
    largest = grouped.abs().amax(-1, keepdim=True).clamp(min=1e-30)
    most = torch.tensor(127.0)  # 127 / largest would be 127 (1 / largest)
    return ((grouped * (most / largest)).round().double() * (largest / 127).double()).view(len(x), -1)[:, : x.shape[1]]


@pytest.mark.parametrize("kind", BlockType)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 999), blocks=st.integers(1, 40), outputs=st.integers(1, 60))
def test_rows_are_the_numbers_that_gguf_reads(kind: BlockType, seed: int, blocks: int, outputs: int) -> None:
    columns = BLOCK_TYPES[kind].columns * (blocks if BLOCK_TYPES[kind].columns == 32 else 1 + blocks % 3)
    raw = stored(kind, outputs, columns, seed)
    ids = torch.randint(0, outputs, (7,))
    expected = torch.from_numpy(dequantize(raw, GGMLQuantizationType(kind)))
    assert torch.equal(matrix(kind, raw, columns).rows(ids), expected[ids])


@pytest.mark.parametrize("kind", BlockType)
@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 999),
    rows=st.sampled_from([1, 2, 3, 8, 36, 49, 100]),
    blocks=st.integers(1, 40),
    outputs=st.integers(1, 60),
    biased=st.booleans(),
)
def test_products_are_those_of_the_rounded_rows(
    kind: BlockType, seed: int, rows: int, blocks: int, outputs: int, biased: bool
) -> None:
    columns = BLOCK_TYPES[kind].columns * (blocks if BLOCK_TYPES[kind].columns == 32 else 1 + blocks % 3)
    raw, generator = stored(kind, outputs, columns, seed), torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=generator) * torch.logspace(-4, 4, rows)[:, None]
    x[rows // 2] = 0
    bias = torch.randn(outputs, generator=generator) if biased else None
    found = on_all_levels(lambda: matrix(kind, raw, columns).times(x, bias))
    near = rounded(x)
    weight = torch.from_numpy(dequantize(raw, GGMLQuantizationType(kind))).double()
    added = bias.double() if bias is not None else torch.zeros(outputs).double()
    # Floats are added once for 16 or 32 columns; what is taken off a level or added to it counts, too.
    size = near.abs() @ dequantized_size(kind, raw).T + added.abs()
    assert ((found - (near @ weight.T + added)).abs() <= 1e-7 * size + 1e-30).all()


def dequantized_size(kind: BlockType, raw: np.ndarray) -> torch.Tensor:
    """How large the terms of each number are that cancel: the scales times the largest level, float64 [N, K]."""
    columns = BLOCK_TYPES[kind].columns
    floats = np.abs(dequantize(raw, GGMLQuantizationType(kind)).astype(np.float64)).reshape(len(raw), -1, columns)
    return torch.from_numpy(np.broadcast_to(floats.max(-1, keepdims=True) * 4, floats.shape).reshape(len(raw), -1).copy())


@pytest.mark.parametrize("kind", BlockType)
def test_the_largest_levels_do_not_saturate(kind: BlockType) -> None:
    raw = stored(kind, 40, 1024, 0)
    raw[raw > 127] = 255
    raw[:, 300:600] = 255 if kind != BlockType.Q8_0 else 128
    for at in _HALVES.get(kind, (0,)):
        raw.reshape(40, -1, BLOCK_TYPES[kind].bytes)[:, :, at : at + 2] = (
            np.float16(0.5).tobytes()[0],
            np.float16(0.5).tobytes()[1],
        )
    x = torch.where(torch.rand(5, 1024) < 0.5, 127.0, -127.0)
    x[0], x[1] = 127, -127
    weight = torch.from_numpy(dequantize(raw, GGMLQuantizationType(kind))).double()
    exact = x.double() @ weight.T
    found = on_all_levels(lambda: matrix(kind, raw, 1024).times(x))
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=float(1e-6 * (x.abs().double() @ weight.abs().T).max()))


@pytest.mark.parametrize("kind", BlockType)
def test_a_row_is_the_same_alone_and_in_any_batch(kind: BlockType) -> None:
    packed, x = matrix(kind, stored(kind, 70, 1792, 3), 1792), torch.randn(130, 1792)
    together = on_all_levels(lambda: packed.times(x))
    assert torch.equal(together, torch.cat([packed.times(part) for part in x.split(7)]))
    assert torch.equal(together[:1], packed.times(x[:1]))


def test_several_matrices_share_rounded_rows_and_an_output() -> None:
    x = torch.randn(9, 512)
    first, second = (matrix(kind, stored(kind, n, 512, n), 512) for kind, n in ((BlockType.Q4_K, 33), (BlockType.Q6_K, 20)))
    rows, out = QuantizedRows(x), torch.full((9, 60), 7.0)
    first.times(rows, out=out, column=3)
    second.times(rows, torch.ones(20), out=out, column=36)
    assert torch.equal(out[:, 3:36], first.times(x)) and torch.equal(out[:, 36:56], second.times(x, torch.ones(20)))
    assert (out[:, :3] == 7).all() and (out[:, 56:] == 7).all()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), columns=st.integers(1, 100), outputs=st.integers(1, 40))
def test_floats_are_rounded_to_blocks_of_any_width(seed: int, columns: int, outputs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight, x = torch.randn(outputs, columns, generator=generator), torch.randn(4, columns, generator=generator)
    raw = quantize_to_q8_0(weight.to(torch.bfloat16))
    assert raw.shape == (outputs, bytes_of_row(BlockType.Q8_0, columns))
    packed = matrix(BlockType.Q8_0, raw, columns)
    near = packed.rows(torch.arange(outputs))
    assert ((near - weight).abs() <= weight.abs().amax(1, keepdim=True) / 127).all()
    found = on_all_levels(lambda: packed.times(x))
    torch.testing.assert_close(found.double(), rounded(x) @ near.double().T, rtol=1e-5, atol=1e-5)


def test_what_is_no_number_stays_none() -> None:
    x = torch.randn(3, 512)
    x[1, 300] = torch.nan
    x[2, 511] = torch.inf
    product = on_all_levels(lambda: matrix(BlockType.Q4_K, stored(BlockType.Q4_K, 8, 512, 0), 512).times(x).nan_to_num(7.5))
    assert (product[1:] == 7.5).all() and (product[0] != 7.5).all()


def test_what_does_not_fit_is_refused() -> None:
    packed = BlockMatrix(4, 512, BlockType.Q4_K)
    rows = np.zeros((4, 288), np.uint8)
    for first, raw in ((1, rows), (-1, rows), (0, rows[:, :144]), (0, rows.astype(np.int8)), (0, rows[0])):
        with pytest.raises(ValueError):
            packed.fill(first, raw)
    for x in (torch.ones(2, 511), torch.ones(512), torch.ones(0, 512), torch.ones(2, 512, dtype=torch.float64)):
        with pytest.raises(ValueError):
            packed.times(x)
    x, out = torch.ones(2, 512), torch.ones(2, 6)
    for bias, where, column in (
        (torch.ones(3), out, 0),
        (torch.ones(4).double(), out, 0),
        (None, out, 3),
        (None, out, -1),
        (None, out[:1], 0),
        (None, out.T, 0),
        (None, torch.ones(2, 12)[:, ::2], 0),
    ):
        with pytest.raises(ValueError):
            packed.times(x, bias, where, column)
    for sizes in ((0, 512), (4, 0)):
        with pytest.raises(ValueError):
            BlockMatrix(*sizes, BlockType.Q4_K)
    with pytest.raises(ValueError):
        BlockMatrix(4, 512, 3)  # type: ignore[arg-type]
    for ids in (torch.tensor([4]), torch.tensor([-1])):
        with pytest.raises(IndexError):
            packed.rows(ids)
    with pytest.raises(ValueError):
        packed.rows(torch.tensor([1.0]))
