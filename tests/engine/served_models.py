"""Tiny random models that vLLM's CPU kernels take (heads of 32), and value tails on them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from guided_gen.engine.tail import Tail

VOCABULARY, HIDDEN, LAYERS, CONTEXT = 300, 128, 3, 512
STOP = frozenset({2})


def served_model(architecture: str = "qwen2", layers: int = LAYERS) -> Any:
    """With weights large enough that its distributions are neither flat nor peaked."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 2
    return model


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


class LinearHead(nn.Module):
    """Reads all that a head can read."""

    width = 2

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.project = nn.Linear(hidden_size, 2, bias=False)

    def emit(self, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.project(states.float())
        return out

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        return last[:, 0] + mean[:, 1] + 0.3 * mean_logprob + 0.1


def value_tail(model: Any, fork_layer: int, count: int) -> Tail:
    """`count` layers above `fork_layer`, moved away from the model's own."""
    torch.manual_seed(1)
    layers = nn.ModuleList(copy.deepcopy(model.model.layers[fork_layer + i]) for i in range(count))
    for layer, source in zip(layers, model.model.layers, strict=False):
        layer.self_attn.config = source.self_attn.config  # which says how they attend, whoever runs them
    with torch.no_grad():
        for parameter in layers.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return (
        Tail(fork_layer, layers, copy.deepcopy(model.model.norm), LinearHead(model.config.hidden_size))
        .eval()
        .requires_grad_(False)
    )


def descendants() -> set[int]:
    """Process ids of all processes below this one but multiprocessing's own tracker of shared memory."""
    found = psutil.Process().children(recursive=True)
    return {process.pid for process in found if _working(process)}


def _working(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
