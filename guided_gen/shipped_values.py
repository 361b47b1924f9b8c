"""The value models that come with the package, and which of them belongs to a generator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from .data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate
from .engine.models.files import resolve_model
from .valuemodel.attach import Prompts, wanted_for
from .valuemodel.model import ValueModel, ValueModelMismatch

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
    for folder in sorted(path for path in SHIPPED.glob("*") if path.is_dir()):
        try:
            ValueModel.made_for(folder).check(asdict(wanted))
        except ValueModelMismatch:
            continue
        return folder
    return None
