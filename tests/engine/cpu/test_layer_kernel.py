"""A layer in two calls equals its operators one by one, to the bit."""

from __future__ import annotations

import pytest
import torch

from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.block_linear import BlockLinear
from guided_gen.engine.cpu.blocks import BlockMatrix, BlockType, quantize_to_q8_0
from guided_gen.engine.cpu.layer_kernel import Heads, LayerKernel

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")
HIDDEN, INNER, HEADS = 64, 96, Heads(query=4, key=2, width=16)


def linear(rows: list[int], columns: int, biased: bool = False) -> BlockLinear:
    matrices = [BlockMatrix(count, columns, BlockType.Q8_0) for count in rows]
    for matrix in matrices:
        matrix.fill(0, quantize_to_q8_0(torch.randn(matrix.out_features, columns)))
    return BlockLinear(matrices, torch.randn(sum(rows)) if biased else None)


@pytest.mark.parametrize("rows", [1, 5, 70, 400])
@pytest.mark.parametrize("normed", [False, True])
def test_a_layer_equals_its_operators(rows: int, normed: bool) -> None:
    torch.manual_seed(rows)
    qkv, o = linear([64, 32, 32], HIDDEN, biased=True), linear([HIDDEN], 64)
    gate_up, down = linear([INNER, INNER], HIDDEN), linear([HIDDEN], INNER, biased=True)
    first, second, query_norm, key_norm = (torch.rand(size) for size in (HIDDEN, HIDDEN, 16, 16))
    layer = LayerKernel(HEADS, (qkv, o, gate_up, down), (first, second), (query_norm, key_norm) if normed else None, 1e-6)
    hidden, cosine, sine = torch.randn(rows, HIDDEN), torch.randn(rows, 16), torch.randn(rows, 16)
    kept = hidden.clone()

    heads = qkv(kernels.rms_norm(hidden, first, 1e-6)).view(rows, 8, 16)
    if normed:
        heads[:, :4], heads[:, 4:6] = (
            kernels.rms_norm(heads[:, :4], query_norm, 1e-6),
            kernels.rms_norm(heads[:, 4:6], key_norm, 1e-6),
        )
    kernels.rotate_(heads[:, :6], cosine, sine)
    heads[:, 4:] = heads[:, 4:].half().float()  # as the cache keeps keys and values
    parts = layer.before_attention(hidden, cosine, sine)
    assert [part.shape[0] for part in parts] == [4, 2, 2]
    assert torch.equal(torch.cat(list(parts)), heads.transpose(0, 1))

    attended = torch.randn(rows, 4, 16)
    between = hidden + o(attended.flatten(1))
    expected = between + down(kernels.silu_mul(gate_up(kernels.rms_norm(between, second, 1e-6))))
    assert torch.equal(layer.after_attention(attended, hidden), expected)
    assert torch.equal(hidden, kept)


def test_keys_and_values_beyond_16_bits_are_the_largest_that_these_hold() -> None:
    qkv = linear([64, 32, 32], HIDDEN, biased=True)
    assert qkv.bias is not None
    qkv.bias[96], qkv.bias[97], qkv.bias[98] = 1e6, -1e6, torch.nan
    linears = (qkv, linear([HIDDEN], 64), linear([2 * INNER], HIDDEN), linear([HIDDEN], INNER))
    layer = LayerKernel(HEADS, linears, (torch.ones(HIDDEN), torch.ones(HIDDEN)), None, 1e-6)
    _, _, values = layer.before_attention(torch.zeros(3, HIDDEN), torch.ones(3, 16), torch.zeros(3, 16))
    assert values[0, :, :2].tolist() == [[65504, -65504]] * 3 and values[0, :, 2].isnan().all()


def test_what_does_not_fit_is_refused() -> None:
    linears = (linear([128], HIDDEN), linear([HIDDEN], 64), linear([2 * INNER], HIDDEN), linear([HIDDEN], INNER))
    norms = (torch.ones(HIDDEN), torch.ones(HIDDEN))
    layer = LayerKernel(HEADS, linears, norms, None, 1e-6)
    hidden, angles, attended = torch.ones(2, HIDDEN), torch.ones(2, 16), torch.ones(2, 4, 16)
    for wrong in ((hidden[:, :32], angles), (hidden, angles[:1]), (hidden, torch.ones(2, 18)), (hidden, torch.ones(2, 3))):
        with pytest.raises(ValueError):
            layer.before_attention(wrong[0], wrong[1], wrong[1])
    for rows, given in (
        (attended[:1], hidden),
        (attended[..., :8], hidden),
        (attended, hidden.double()),
        (attended, hidden[:, 1:]),
    ):
        with pytest.raises(ValueError):
            layer.after_attention(rows, given)
    with pytest.raises(ValueError):
        layer.before_attention(hidden[:0], angles[:0], angles[:0])
    with pytest.raises(ValueError):
        LayerKernel(Heads(query=5, key=2, width=16), linears, norms, None, 1e-6)
    with pytest.raises(ValueError):
        LayerKernel(HEADS, linears, (torch.ones(HIDDEN), torch.ones(HIDDEN + 1)), None, 1e-6)
    with pytest.raises(ValueError):
        LayerKernel(HEADS, linears, norms, (torch.ones(16), torch.ones(8)), 1e-6)
