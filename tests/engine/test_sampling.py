"""Sampling against transformers' own logits processors, and against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from guided_gen.engine.cpu import kernels
from guided_gen.engine.errors import SettingsError
from guided_gen.engine.randomness import path_keys, uniforms
from guided_gen.engine.sampling import Sampling, distributions, largest


@pytest.fixture(params=[False, True], ids=["", "without kernels"])
def without_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param:
        monkeypatch.setattr(kernels, "compute", lambda tensor: False)


def expected_probabilities(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """[K, V] after temperature, top-k and top-p as transformers applies them."""
    logits = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    if sampling.top_k:
        logits = TopKLogitsWarper(sampling.top_k)(None, logits)
    if sampling.top_p < 1:
        logits = TopPLogitsWarper(sampling.top_p)(None, logits)
    return torch.softmax(logits.double(), dim=-1)


@given(
    seed=st.integers(0, 2**32 - 1),
    temperature=st.sampled_from([0.3, 0.8, 1.0, 1.7]),
    top_p=st.sampled_from([0.3, 0.9, 0.95, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 200]),
    spread=st.sampled_from([0.1, 1.0, 5.0]),
    with_kernels=st.booleans(),
)
@settings(max_examples=60)
def test_distributions_equal_those_of_transformers(
    seed: int, temperature: float, top_p: float, top_k: int, spread: float, with_kernels: bool
) -> None:
    logits = torch.randn(3, 150, generator=torch.Generator().manual_seed(seed)) * spread
    settings = Sampling(temperature, top_p, top_k)
    with pytest.MonkeyPatch.context() as patch:
        if not with_kernels:
            patch.setattr(kernels, "compute", lambda tensor: False)
        found = distributions(logits, settings)
    probabilities = np.diff(found.cumulative, prepend=0, axis=1)
    scattered = np.zeros((3, 150))
    np.put_along_axis(scattered, found.tokens, probabilities, axis=1)
    np.testing.assert_allclose(scattered, expected_probabilities(logits, settings).numpy(), atol=1e-5)
    possible = probabilities > 1e-9  # differences of the distribution function resolve no less
    np.testing.assert_allclose(found.sample_logprob[possible], np.log(probabilities[possible]), atol=1e-4)
    model = torch.log_softmax(logits, -1).numpy()
    np.testing.assert_allclose(
        found.logprob, np.take_along_axis(model, found.tokens, axis=1)[:, : found.logprob.shape[1]], atol=1e-5
    )


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 12), st.integers(96, 5000))
def test_the_largest_of_a_large_vocabulary_are_found_wherever_they_are(seed: int, rows: int, width: int, vocabulary: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, vocabulary, generator=generator)
    logits[:, -1:] += 9 * torch.rand(rows, 1, generator=generator)
    top, tokens = largest(logits, width)
    assert torch.equal(top, logits.topk(width).values) and torch.equal(logits.gather(1, tokens), top)
    assert all(len(set(row)) == width for row in tokens.tolist())


@pytest.mark.parametrize("temperature", [1e-3, 1e-6, 1e-10, 1e-30, 5e-324])
def test_low_temperatures_are_almost_greedy(temperature: float, without_kernels: None) -> None:
    logits = torch.tensor([[30.0, 30.0, 29.9, -5.0], [-3.0, 1e4, 0.0, 9999.0]])
    found = distributions(logits, Sampling(temperature, 0.95))
    np.testing.assert_allclose(found.cumulative, np.asarray([[0.5, 1], [1, 1]]))


def test_signals_are_entropy_margin_and_self_certainty() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]])
    found = distributions(logits, Sampling())
    np.testing.assert_allclose(found.entropy, [np.log(4), 0], atol=1e-5)
    np.testing.assert_allclose(found.margin, [0, 1], atol=1e-5)
    np.testing.assert_allclose(found.certainty[0], 0, atol=1e-5)
    assert found.certainty[1] > 50


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_draws_are_as_frequent_as_probable(top_p: float) -> None:
    logits = torch.tensor([[1.0, 0.5, 0.0, -1.0, -2.0]])
    sampling = Sampling(0.9, top_p)
    found = distributions(logits, sampling)
    draws = uniforms(0, 1, np.arange(20_000), np.zeros(20_000))
    tokens = [found.tokens[0, found.draw(0, uniform)] for uniform in draws]
    shares = np.bincount(tokens, minlength=5) / len(tokens)
    np.testing.assert_allclose(shares, expected_probabilities(logits, sampling)[0].numpy(), atol=0.015)


def test_every_possible_uniform_draws_a_token_that_can_be_drawn() -> None:
    found = distributions(torch.randn(1, 5000, generator=torch.Generator().manual_seed(0)), Sampling(0.8, 0.9))
    for uniform in (0.0, 0.5, 1 - 2**-53):
        column = found.draw(0, uniform)
        assert found.sample_logprob[0, column] > -np.inf


def test_greedy_takes_the_most_likely_token_whatever_the_uniform() -> None:
    found = distributions(torch.tensor([[0.0, 3.0, 1.0]]), Sampling(temperature=0))
    assert [found.tokens[0, found.draw(0, uniform)] for uniform in (0.0, 0.99)] == [1, 1]


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0}, {"top_p": 1.1}, {"top_k": -1}]
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_uniforms_depend_on_every_part_of_the_key_and_on_nothing_else() -> None:
    streams, positions = np.arange(50), np.arange(50) % 7
    all_at_once = uniforms(1, 2, streams, positions)
    one_by_one = [uniforms(1, 2, streams[i : i + 1], positions[i : i + 1])[0] for i in range(50)]
    assert all_at_once.tolist() == one_by_one
    for other in (
        uniforms(2, 2, streams, positions),
        uniforms(1, 3, streams, positions),
        uniforms(1, 2, streams + 50, positions),
    ):
        assert not np.any(other == all_at_once)


def test_path_keys_do_not_depend_on_the_order_of_nodes() -> None:
    one: list[int] = []
    path_keys([-1, 0, 0], [5, 6, 7], one)
    other: list[int] = []
    path_keys([-1, 0, 0], [5, 7, 6], other)
    assert one == [other[0], other[2], other[1]]
    assert len(set(one)) == 3
