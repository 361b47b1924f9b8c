"""Frequencies of every kind are transformers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from guided_gen.engine.errors import ModelError
from guided_gen.engine.models.rope import frequencies

KINDS: list[dict[str, Any]] = [
    {"rope_type": "linear", "factor": 4.0},
    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 16, "mscale": 0.7, "mscale_all_dim": 0.3},
    {
        "rope_type": "yarn",
        "factor": 8.0,
        "original_max_position_embeddings": 16,
        "beta_fast": 4,
        "beta_slow": 2,
        "truncate": False,
    },
    {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
    {"rope_type": "longrope", "short_factor": [1.5] * 8, "long_factor": [2.0] * 8, "original_max_position_embeddings": 16},
    {
        "rope_type": "longrope",
        "short_factor": [1.0] * 8,
        "long_factor": [2.0] * 8,
        "original_max_position_embeddings": 16,
        "attention_factor": 1.3,
    },
]


def parameters(kind: dict[str, Any]) -> dict[str, Any]:
    return {"rope_theta": 10_000.0, **kind}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind["rope_type"])
def test_frequencies_are_transformers_own(kind: dict[str, Any]) -> None:
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=64, rope_parameters=parameters(kind))
    found = frequencies(dict(config.rope_parameters or {}), 16, 64)
    expected, scale = ROPE_INIT_FUNCTIONS[kind["rope_type"]](config, torch.device("cpu"))
    torch.testing.assert_close(found.short, expected)
    assert found.scale == pytest.approx(scale)
    if found.long is not None:
        longer, _ = ROPE_INIT_FUNCTIONS["longrope"](config, torch.device("cpu"), seq_len=17)
        torch.testing.assert_close(found.long, longer)
        assert found.original_context == 16


@pytest.mark.parametrize("kind", ["default", "dynamic"])
def test_plain_frequencies_turn_a_part_of_the_head(kind: str) -> None:
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, num_hidden_layers=1, vocab_size=8, intermediate_size=8)
    theirs = LlamaForCausalLM(config).model.rotary_emb.inv_freq
    torch.testing.assert_close(frequencies({"rope_type": kind, "rope_theta": 10_000.0}, 16, 64).short, theirs)
    assert len(frequencies({"rope_theta": 10_000.0, "partial_rotary_factor": 0.75}, 16, 64).short) == 6


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ({"rope_type": "spiral"}, "type 'spiral' are not covered"),
        ({"rope_type": "linear"}, "factor of its rotary embeddings is None"),
        ({"rope_type": "linear", "factor": 0}, "factor of its rotary embeddings is 0"),
        ({"rope_type": "linear", "factor": float("nan")}, "factor of its rotary embeddings is nan"),
        ({"rope_type": "longrope", "original_max_position_embeddings": 16, "short_factor": [1.0]}, "short_factor .* are not 8"),
        ({"partial_rotary_factor": 3.0}, "cannot turn 48 of a head's 16"),
        ({"rope_theta": "large"}, "rope_theta of its rotary embeddings is 'large'"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        frequencies(parameters(kind), 16, 64)
