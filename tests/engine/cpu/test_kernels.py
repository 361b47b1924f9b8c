"""The kernels against torch's operators, at every level of instructions that this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from guided_gen.engine.cpu import kernels
from guided_gen.engine.torch_backend.kv_cache import DecodeLayout, PromptCache, SlotPool

from .levels import on_all_levels

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")


@pytest.fixture(autouse=True)
def best_level() -> Iterator[None]:
    yield
    kernels.use(kernels.levels()[-1])


@pytest.mark.parametrize("width", [3, 16, 50, 896])
def test_norms_activations_and_rotations_equal_torchs(width: int) -> None:
    torch.manual_seed(width)
    x, weight = torch.randn(2, 20, width) * 3, torch.randn(width)
    found = on_all_levels(lambda: kernels.rms_norm(x, weight, 1e-6))
    torch.testing.assert_close(found, F.rms_norm(x, (width,), weight, 1e-6), rtol=1e-5, atol=1e-6)

    gate_up = torch.randn(2, 20, 2 * width) * 30
    gate, up = gate_up.chunk(2, dim=-1)
    found = on_all_levels(lambda: kernels.silu_mul(gate_up))
    torch.testing.assert_close(found, F.silu(gate) * up, rtol=1e-5, atol=1e-6)

    turned = width // 4 * 2
    angles = torch.randn(turned // 2, 5).repeat(2, 1).T  # not dense
    heads = torch.randn(5, 7, width)
    first, rest = heads[..., :turned], heads[..., turned:]
    swapped = torch.cat([-first[..., turned // 2 :], first[..., : turned // 2]], dim=-1)
    expected = torch.cat([first * angles.cos()[:, None] + swapped * angles.sin()[:, None], rest], dim=-1)

    def rotate() -> torch.Tensor:
        some = heads.clone()
        kernels.rotate_(some[:, 2:6], angles.cos(), angles.sin())
        return some

    found = on_all_levels(rotate)
    torch.testing.assert_close(found[:, 2:6], expected[:, 2:6])
    assert torch.equal(found[:, [0, 1, 6]], heads[:, [0, 1, 6]])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    counts=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    kv_heads=st.sampled_from([1, 2, 3]),
    shared=st.sampled_from([1, 2, 3, 5, 7, 8, 12]),
    head_dim=st.sampled_from([8, 16, 20, 64]),
    longest=st.integers(1, 40),
)
def test_attention_equals_that_of_plain_products(
    seed: int, counts: list[int], kv_heads: int, shared: int, head_dim: int, longest: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    rows, heads = sum(counts), shared * kv_heads
    pool = SlotPool([torch.float32], kv_heads, head_dim, torch.device("cpu"))
    slots = torch.tensor(pool.allocate(60))
    pool[0].copy_(random(*pool[0].shape))
    groups = []
    for i, count in enumerate(counts):
        prompt = PromptCache([0] * (20 + i), [torch.float32])
        prompt.keep(0, random(kv_heads, 20 + i, head_dim), random(kv_heads, 20 + i, head_dim))
        groups.append((prompt.first(3 + 5 * i), count))
    lengths = torch.randint(1, longest + 1, (rows,), generator=generator)
    lengths[seed % rows] = longest
    own = slots[torch.randperm(60, generator=generator)[:rows]]
    paths = slots[torch.randint(0, 60, (rows, longest), generator=generator)]
    paths[torch.arange(rows), lengths - 1] = own
    parts = random(1, rows, heads + 2 * kv_heads, head_dim).transpose(1, 2).split([heads, kv_heads, kv_heads], dim=1)

    def attend() -> torch.Tensor:
        return DecodeLayout(pool, groups, own, paths, lengths).attend(0, parts[0], parts[1], parts[2], 0.3)

    before = pool[0].clone()
    found = on_all_levels(attend)
    written = pool[0].clone()
    pool[0].copy_(before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "attend", lambda cells: False)
        expected = attend()
    assert torch.equal(written, pool[0])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    # In 16 bits it is, to the bit, that of the rounded numbers.
    narrow = SlotPool([torch.float16], kv_heads, head_dim, torch.device("cpu"))
    narrow.allocate(60)
    narrow[0].copy_(before)
    pool[0].copy_(narrow[0])
    rounded = [PromptCache(prompt.token_ids, [torch.float16]) for prompt, _ in groups]
    for (prompt, _), short in zip(groups, rounded, strict=True):
        short.keep(0, prompt.keys[0], prompt.values[0])
        prompt.keep(0, short.keys[0].float(), short.values[0].float())
    parts = [parts[0], parts[1].half().float(), parts[2].half().float()]
    expected = on_all_levels(attend)
    pool, groups = narrow, [(short, count) for short, (_, count) in zip(rounded, groups, strict=True)]
    assert torch.equal(on_all_levels(attend), expected)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 999), rows=st.integers(1, 5), size=st.integers(1, 700), temperature=st.sampled_from([0.3, 1.0, 1.7]))
def test_sums_over_logits_equal_torchs(seed: int, rows: int, size: int, temperature: float) -> None:
    logits = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed)) * 10
    found = on_all_levels(lambda: torch.stack(kernels.sum_up(logits, temperature)))
    exact = logits.double()
    off = exact - exact.amax(1, keepdim=True)
    sums = [off.exp().sum(1), (off / temperature).exp().sum(1), (off * off.exp()).sum(1), exact.sum(1)]
    torch.testing.assert_close(found.double(), torch.stack([exact.amax(1), *sums]), rtol=1e-5, atol=1e-3)


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(1, 12), st.integers(12, 3000), st.sampled_from([1, 3, 1000]))
def test_the_largest_are_found_wherever_they_are_and_the_first_of_equal_ones_first(
    seed: int, rows: int, width: int, size: int, different: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(0, different, (rows, size), generator=generator).float()
    if seed % 2:
        x = x.sort(dim=1).values  # each is larger than all before
    values = on_all_levels(lambda: kernels.largest(x, width)[0])
    places = on_all_levels(lambda: kernels.largest(x, width)[1])
    order = torch.sort(x, dim=1, descending=True, stable=True)
    assert torch.equal(values, order.values[:, :width]) and torch.equal(places, order.indices[:, :width])


def test_a_vocabularys_logits_are_reduced_by_several_threads() -> None:
    logits = torch.randn(5, 20_000)
    found = on_all_levels(lambda: torch.stack(kernels.sum_up(logits, 0.8)))
    assert torch.equal(found, torch.cat([torch.stack(kernels.sum_up(row[None], 0.8)) for row in logits], dim=1))
    values, places = kernels.largest(logits, 64)
    expected = logits.topk(64)
    assert torch.equal(values, expected.values) and torch.equal(places, expected.indices)


def test_what_is_no_number_stays_none() -> None:
    x = torch.randn(3, 50)
    x[1, 49] = torch.nan
    assert kernels.silu_mul(x).isnan().sum() == 1 and kernels.rms_norm(x, torch.ones(50), 1e-6)[1].isnan().all()


def attention(
    slots: tuple[int, ...] = (0, 1),
    paths: tuple[tuple[int, ...], ...] = ((0, 3), (1, 1)),
    lengths: tuple[int, ...] = (2, 1),
    prompts: tuple[int, ...] = (0, 0),
    **shapes: tuple[int, ...],
) -> torch.Tensor:
    """Two rows below one prompt of three tokens, 4 heads of 8 numbers, 2 for keys and values, 5 slots."""
    chosen = {"query": (4, 2, 8), "key": (2, 2, 8), "value": (2, 2, 8), "cells": (5, 2, 2, 8), "prompt": (2, 3, 8)} | shapes
    query, key, value, cells, prompt = (torch.ones(shape) for shape in chosen.values())
    rows = kernels.TreeAttention(*(torch.tensor(part, dtype=torch.int64) for part in (slots, paths, lengths, prompts)))
    return rows(query, key, value, cells, [(prompt, prompt)], 1.0)


def test_what_attention_would_read_or_write_outside_is_refused() -> None:
    assert torch.equal(attention(), torch.ones(2, 4, 8))
    wrong: list[dict[str, Any]] = [
        {"slots": (0, 5)},
        {"slots": (-1, 0)},
        {"slots": (0,)},
        {"paths": ((0, 5), (1, 1))},
        {"paths": ((0, -1), (1, 1))},
        {"paths": ((0, 1),)},
        {"paths": ((), ())},
        {"lengths": (3, 1)},
        {"lengths": (0, 1)},
        {"lengths": (1, 1, 1)},
        {"prompts": (0, 1)},
        {"prompts": (-1, 0)},
        {"query": (3, 2, 8)},
        {"query": (4, 3, 8)},
        {"query": (0, 2, 8)},
        {"key": (0, 2, 8), "value": (0, 2, 8), "cells": (5, 2, 0, 8)},
        {"value": (2, 2, 4)},
        {"cells": (5, 2, 2, 4)},
        {"cells": (5, 1, 2, 8)},
        {"query": (4, 2, 0), "key": (2, 2, 0), "value": (2, 2, 0), "cells": (5, 2, 2, 0), "prompt": (2, 3, 0)},
        {"prompt": (1, 3, 8)},
        {"prompt": (2, 3, 4)},
    ]
    for case in wrong:
        with pytest.raises(ValueError):
            attention(**case)
    with pytest.raises(ValueError):
        kernels.TreeAttention(*(torch.zeros(shape) for shape in ((1,), (1, 1), (1,), (1,))))


def test_tensors_that_do_not_fit_are_refused() -> None:
    for x, weight in (
        (torch.ones(2, 8, dtype=torch.bfloat16), torch.ones(8)),
        (torch.ones(2, 8), torch.ones(7)),
        (torch.ones(2, 8), torch.ones(8).double()),
        (torch.ones(2, 0), torch.ones(0)),
    ):
        with pytest.raises(ValueError):
            kernels.rms_norm(x, weight, 1e-6)
    for gate_up in (torch.ones(2, 7), torch.ones(2, 0), torch.ones(2, 8).double()):
        with pytest.raises(ValueError):
            kernels.silu_mul(gate_up)
    heads = torch.ones(5, 2, 8)
    for x, angles in (
        (heads, torch.ones(5, 10)),
        (heads, torch.ones(5, 3)),
        (heads, torch.ones(4, 4)),
        (heads.double(), torch.ones(5, 4)),
        (heads[..., :4], torch.ones(5, 4)),
        (torch.ones(5, 8), torch.ones(5, 4)),
    ):
        with pytest.raises(ValueError):
            kernels.rotate_(x, angles, angles)
    for logits in (torch.ones(3, 0), torch.ones(4), torch.ones(2, 4).double()):
        with pytest.raises(ValueError):
            kernels.sum_up(logits, 1.0)
        with pytest.raises(ValueError):
            kernels.largest(logits, 1)
    for width in (0, 5, -1):
        with pytest.raises(ValueError):
            kernels.largest(torch.ones(2, 4), width)


def test_no_rows_at_all_give_none() -> None:
    assert kernels.rms_norm(torch.ones(0, 8), torch.ones(8), 1e-6).shape == (0, 8)
    assert kernels.silu_mul(torch.ones(0, 8)).shape == (0, 4)
    kernels.rotate_(torch.ones(0, 2, 8), torch.ones(0, 4), torch.ones(0, 4))
    assert kernels.sum_up(torch.ones(0, 8), 1.0)[0].shape == (0,) and kernels.largest(torch.ones(0, 8), 2)[0].shape == (0, 2)


def test_logits_that_are_no_numbers_name_a_token_all_the_same() -> None:
    _, places = kernels.largest(torch.full((2, 100), torch.nan), 3)
    assert ((places >= 0) & (places < 100)).all()
