"""Tensors in a model folder's safetensors files, read one at a time or by pieces.

Each reading has a mapping of its own, whose memory goes with what was read; transformers maps a file once and as a whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open

from ..errors import GuidedGenError


class MissingTensor(GuidedGenError):
    """A tensor that a model's files do not hold."""


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix in a safetensors file."""

    stored: dict[str, Path]
    name: str

    @cached_property
    def shape(self) -> tuple[int, ...]:
        with opened(self.stored, self.name) as file:
            return tuple(file.get_slice(self.name).get_shape())

    def __getitem__(self, rows: slice) -> torch.Tensor:
        with opened(self.stored, self.name) as file:
            return cast(torch.Tensor, file.get_slice(self.name)[rows])


def files_of_tensors(folder: Path) -> dict[str, Path]:
    """Which safetensors file of `folder` holds which tensor; empty where there is none."""
    index, file = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.is_file():
        return {name: folder / part for name, part in json.loads(index.read_text())["weight_map"].items()}
    if not file.is_file():
        return {}
    with safe_open(file, "pt") as tensors:
        return dict.fromkeys(tensors.keys(), file)


def opened(stored: dict[str, Path], name: str) -> Any:
    """The file that holds tensor `name`. Raises MissingTensor."""
    if name not in stored:
        raise MissingTensor(f"the model's files hold no tensor {name}")
    return safe_open(stored[name], "pt")
