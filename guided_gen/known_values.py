"""The value models that are at hand: those that `guided-gen adapt` installed in the user's cache, and those of the package.

A generator gets the one that was made for its very weights, precision and prompts; an installed one goes before the package's.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate
from .engine.errors import SettingsError
from .engine.models.files import cache_dir, resolve_model
from .valuemodel.made_for import PARTS, MadeFor, Prompts, ValueModelError, ValueModelMismatch, made_for, wanted_for

AUTO = "auto"
SHIPPED = Path(__file__).parent / "values"
"""A folder for each value model of the package."""


@dataclass(frozen=True)
class KnownValue:
    """A value model's folder, whether it was installed or came with the package, and the generator that it is for."""

    folder: Path
    installed: bool
    made_for: MadeFor


def known_values() -> list[KnownValue]:
    """Installed ones first; a folder that cannot be read is left out."""
    found = []
    for root, installed in ((installed_folder(), True), (SHIPPED, False)):
        for folder in sorted(path for path in root.glob("*") if path.is_dir() and not path.name.startswith(".")):
            try:
                found.append(KnownValue(folder, installed, made_for(folder)))
            except ValueModelError:
                continue
    return found


def known_value(
    model: str, precision: str = "auto", backend: str = "torch", template: PromptTemplate = DEFAULT_TEMPLATE
) -> Path | None:
    """The value model that was made for this generator's weights, precision and prompts; None where none was.

    Fetches the generator where it is not in the cache, to know its hash.
    """
    return value_made_for(asdict(wanted_for(resolve_model(model), precision, backend, Prompts(template.name, template.hash))))


def value_made_for(metadata: Mapping[str, Any]) -> Path | None:
    """The value model that was made for the generator which a tree's metadata, or a dataset's settings, name."""
    for one in known_values():
        try:
            one.made_for.check(metadata)
        except ValueModelMismatch:
            continue
        return one.folder
    return None


def value_for_weights(sha256: str) -> Path | None:
    """A value model that was made for a generator of these weights, in whatever precision."""
    return next((one.folder for one in known_values() if one.made_for.model_sha256 == sha256), None)


# -- the user's own


def installed_folder() -> Path:
    """Where `install` puts them; it may not exist yet."""
    return cache_dir() / "values"


def install(value: Path) -> Path:
    """Copy the value model in the folder `value` to where it is found, in the place of an earlier one for the same generator.

    What is found is whole: the copy is made beside it first. Raises ValueModelError for any other folder.
    """
    target = installed_folder() / _name(made_for(value))
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=target.parent) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        for part in PARTS:
            if (value / part).is_file():
                shutil.copyfile(value / part, new / part)
        if target.exists():
            target.replace(old)
        new.replace(target)
    return target


def value_named(name: str) -> KnownValue:
    """Raises SettingsError for a name that `guided-gen values list` does not show."""
    found = next((one for one in known_values() if one.folder.name == name), None)
    if found is None:
        raise SettingsError(f"there is no value model {name!r}; guided-gen values list names them")
    return found


def remove(name: str) -> Path:
    """Delete an installed value model. Raises SettingsError for one of the package, or where there is none."""
    one = value_named(name)
    if not one.installed:
        raise SettingsError(f"{name} comes with guided-gen and stays; --value none searches without it")
    shutil.rmtree(one.folder)
    return one.folder


def _name(one: MadeFor) -> str:
    """As unique as the key (weights, precision, prompts), and readable."""
    model = re.sub(r"[^\w.-]+", "-", one.model.rpartition("/")[2]).strip(".-") or "model"
    text = f"-{one.generator_sha256[:8]}" if one.generator_sha256 else ""
    return f"{model}-{one.model_sha256[:12]}-{one.precision}-{one.template}-{one.template_hash}{text}"
