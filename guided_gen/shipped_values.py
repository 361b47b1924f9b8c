"""The value models that come with the package, and which of them belongs to a generator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

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
    wanted = wanted_for(resolve_model(model), precision, backend, Prompts(template.name, template.hash))
    for folder in _folders():
        try:
            made_for(folder).check(asdict(wanted))
        except ValueModelMismatch:
            continue
        return folder
    return None


def value_for_weights(sha256: str) -> Path | None:
    """The value model of the package that was made for a generator of these weights, in whatever precision."""
    return next((folder for folder in _folders() if made_for(folder).model_sha256 == sha256), None)


def _folders() -> list[Path]:
    return sorted(path for path in SHIPPED.glob("*") if path.is_dir())
