"""Which value model a folder holds: what fitted curves and results are of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..engine.errors import GuidedGenError

_MADE_FROM = ("config.json", "model.safetensors")


class NoValueModel(GuidedGenError):
    """A folder that holds no value model."""


def value_sha256(folder: Path) -> str:
    """A hash of the configuration and weights in a value model's folder. Raises NoValueModel."""
    digest = hashlib.sha256()
    try:
        for name in _MADE_FROM:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    except OSError as error:
        raise NoValueModel(f"{folder} is not the folder of a value model: {error}") from error
    return digest.hexdigest()
