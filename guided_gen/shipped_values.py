"""The value models that come with the package, and which of them belongs to a generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate
from .engine.models.files import resolve_model
from .valuemodel.made_for import Prompts, ValueModelMismatch, made_for, wanted_for

AUTO = "auto"
SHIPPED = Path(__file__).parent / "values"
"""A folder for each value model."""


def shipped_value(
    model: str, precision: str = "auto", backend: str = "torch", template: PromptTemplate = DEFAULT_TEMPLATE
) -> Path | None:
    """The value model of the package that was made for this generator's weights, precision and prompts; None where none was.

    Fetches the generator where it is not in the cache, to know its hash.
    """
    return value_made_for(asdict(wanted_for(resolve_model(model), precision, backend, Prompts(template.name, template.hash))))


def value_made_for(metadata: Mapping[str, Any]) -> Path | None:
    """The value model of the package that was made for the generator which a tree's metadata, or a dataset's settings, name."""
    for folder in _folders():
        try:
            made_for(folder).check(metadata)
        except ValueModelMismatch:
            continue
        return folder
    return None


def value_for_weights(sha256: str) -> Path | None:
    """The value model of the package that was made for a generator of these weights, in whatever precision."""
    return next((folder for folder in _folders() if made_for(folder).model_sha256 == sha256), None)


def _folders() -> list[Path]:
    return sorted(path for path in SHIPPED.glob("*") if path.is_dir())
