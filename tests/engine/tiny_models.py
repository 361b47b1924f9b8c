"""Tiny random models of the supported architectures, for logic; they say nothing sensible."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

VOCABULARY = 300
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CONFIGS = {
    "qwen2": lambda: Qwen2Config(**SHAPE, num_key_value_heads=2),
    "qwen3": lambda: Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=16),
    "llama": lambda: LlamaConfig(**SHAPE, num_key_value_heads=1),
    "phi3": lambda: Phi3Config(**SHAPE | {"num_key_value_heads": 4, "partial_rotary_factor": 0.75}),
}
ARCHITECTURES = sorted(CONFIGS)


def tiny_model(architecture: str, seed: int = 0) -> Any:
    """A random model whose weights are large enough that its distributions are neither flat nor peaked."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[architecture]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    return model
