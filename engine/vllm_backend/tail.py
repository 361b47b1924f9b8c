"""A value tail as a file that vLLM's workers read: layers, norm, and what the head emits as one matrix.

The rest of the head (means along the path, calibration, sigmoid) stays with the search. vllm_forked.py runs the file's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ..errors import SettingsError
from ..files import replaced_atomically
from ..tail import Head, Tail
from .requests import NUMBERS

# vLLM reports at most 128 columns of a token: the tree's own, one to spare, and what the head emits.
_MOST_EMITTED = 128 - len(NUMBERS) - 1
_EMIT = "emit.weight"


@dataclass(frozen=True)
class TailFile:
    """`weights`: named as in transformers (layers.0.self_attn.q_proj.weight, ..., norm.weight); `emit` [E, H], float32."""

    fork_layer: int
    layers: int
    emit: torch.Tensor
    weights: dict[str, torch.Tensor]


def write_tail(tail: Tail, path: Path) -> None:
    """Raises SettingsError for a head that emits more numbers than vLLM hands out."""
    if tail.head.width > _MOST_EMITTED:
        raise SettingsError(
            f"this value model's head emits {tail.head.width} numbers a token and vLLM hands out {_MOST_EMITTED}: "
            f"train one with fewer hidden units"
        )
    weights = {f"layers.{name}": tensor for name, tensor in tail.layers.state_dict().items()}
    weights |= {f"norm.{name}": tensor for name, tensor in tail.norm.state_dict().items()}
    weights[_EMIT] = _matrix(tail.head, hidden_size=len(weights["norm.weight"]))
    about = {"fork_layer": str(tail.fork_layer), "layers": str(len(tail.layers))}
    with replaced_atomically(path) as temporary:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}, temporary, about)


def read_tail(path: str | Path) -> TailFile:
    with safe_open(path, "pt") as file:
        about = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return TailFile(int(about["fork_layer"]), int(about["layers"]), weights.pop(_EMIT), weights)


@torch.no_grad()
def _matrix(head: Head, hidden_size: int) -> torch.Tensor:
    """`head.emit` is linear: its matrix is what it makes of the unit vectors. [E, H], float32."""
    device = next((parameter.device for parameter in getattr(head, "parameters", list)()), torch.device("cpu"))
    return head.emit(torch.eye(hidden_size, device=device)).float().T
