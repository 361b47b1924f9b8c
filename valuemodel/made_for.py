"""What a value model was made for: weights, precision and prompts. Told from its folder without loading it, or torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..engine.errors import GuidedGenError

CONFIG, WEIGHTS, EARLY_STOP = "config.json", "model.safetensors", "early_stop.json"
PARTS = (CONFIG, WEIGHTS, EARLY_STOP, "evidence.json", "statement.safetensors", "README.md", "known_problems.json")
"""All files of a value model's folder that belong to it, as far as they are there."""
FORMAT_VERSION = 1


class ValueModelError(GuidedGenError):
    """A value model that cannot be made or loaded."""


class ValueModelMismatch(ValueModelError):
    """A value model is used with another base model, precision or prompt template than it was trained with."""


@dataclass(frozen=True)
class MadeFor:
    """The generator whose partial answers a value model has learnt to judge: the fields are those of a tree's metadata.

    `model_sha256` stands for weights and tokenizer together (`engine.models.files.ModelIdentity`). A text scorer reads the
    answers of another model: `model` is then its own base, and `generator` the one that wrote the answers.
    """

    model: str = ""
    model_sha256: str = ""
    precision: str = ""
    template: str = ""
    template_hash: str = ""
    generator: str = ""
    generator_sha256: str = ""

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> MadeFor:
        return cls(**{field.name: str(metadata.get(field.name, "")) for field in fields(cls)})

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Raise ValueModelMismatch unless `metadata` names the same weights, precision and template."""
        other = MadeFor.of(metadata)
        if self.model_sha256 != other.model_sha256:
            raise ValueModelMismatch(
                f"this value model was trained for {self.model} (weights and tokenizer {self.model_sha256[:12]}), "
                f"not for {other.model} ({other.model_sha256[:12]})"
            )
        if self.generator_sha256 != other.generator_sha256:
            raise ValueModelMismatch(
                f"this value model was trained on answers of {self.generator or self.model}, "
                f"not on those of {other.generator or other.model}"
            )
        if self.precision != other.precision:
            raise ValueModelMismatch(
                f"this value model was trained on states of {self.model} in {self.precision}, not in {other.precision}"
            )
        if self.template_hash != other.template_hash:
            raise ValueModelMismatch(
                f"this value model was trained with the prompt template {self.template!r} ({self.template_hash}), "
                f"not with {other.template!r} ({other.template_hash})"
            )


@dataclass(frozen=True)
class Prompts:
    """The prompts that will be used: the name and hash of their template."""

    template: str
    template_hash: str


def wanted_for(generator: Path, precision: str, backend: str, prompts: Prompts) -> MadeFor:
    """What a value model on the own states of the generator in a folder or a GGUF has to be made for, to be used with it."""
    from ..engine.models.files import model_identity
    from ..engine.models.loading import chosen_precision, device_kind

    identity = model_identity(generator)
    chosen = chosen_precision(precision, device_kind(), generator, backend)
    return MadeFor(identity.name, identity.sha256, chosen, prompts.template, prompts.template_hash)


def made_for(folder: Path) -> MadeFor:
    """What the value model in `folder` was made for. Raises ValueModelError for any other folder."""
    return MadeFor(**read_config(folder)["made_for"])


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a saved value model. Raises ValueModelError for any other folder."""
    try:
        raw: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueModelError(f"{folder} is no value model: {CONFIG} cannot be read ({error})") from error
    if raw.get("format") != FORMAT_VERSION or "fork_layer" not in raw:
        raise ValueModelError(f"{folder} is no value model of a format that this version reads")
    return raw


def local_folder(folder: str | Path) -> Path:
    """The folder itself, or where a value model of the Hugging Face hub was downloaded to. Raises ValueModelError."""
    if Path(folder).is_dir() or str(folder).count("/") != 1 or str(folder).startswith((".", "/")):
        return Path(folder)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(folder), allow_patterns=list(PARTS)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueModelError(f"{folder} is neither a folder nor a value model on the Hugging Face hub") from error


# -- which value model a folder holds: what fitted curves and results are of


_MADE_FROM = ("config.json", "model.safetensors")


def value_sha256(folder: Path) -> str:
    """A hash of the configuration and weights in a value model's folder. Raises ValueModelError."""
    digest = hashlib.sha256()
    try:
        for name in _MADE_FROM:
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    except OSError as error:
        raise ValueModelError(f"{folder} is not the folder of a value model: {error}") from error
    return digest.hexdigest()
