"""A model ready to decode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..language_model import LanguageModel
from .files import ModelIdentity
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to decode, with what names it: `identity` for the weights, `precision` for how they are computed with.

    `path` is the folder or the GGUF that it was loaded from. As a context manager it ends what the backend started.
    """

    language_model: LanguageModel
    tokenizer: Tokenizer
    stop_ids: frozenset[int]
    identity: ModelIdentity
    precision: str
    path: Path

    def __enter__(self) -> LoadedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.language_model.end()
