"""Settings of the vLLM backend: the names are vLLM's own, so that its documentation explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..errors import SettingsError


@dataclass(frozen=True)
class VllmSettings:
    """What is passed through to vLLM; None leaves vLLM's default. Two entries are ours:

    `patience`: seconds without a token from anyone after which a waiting search fails; `value_memory`: the share of
    `gpu_memory_utilization` that an exported value model's own engine takes from the generator's (vllm_pooling.py).
    """

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    distributed_executor_backend: str | None = None  # mp, ray, uni
    gpu_memory_utilization: float = 0.9
    kv_cache_memory_bytes: int | None = None
    block_size: int | None = None
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    patience: float = 300.0
    value_memory: float = 0.3

    def __post_init__(self) -> None:
        for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("gpu_memory_utilization", "value_memory"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        if self.patience <= 0:
            raise SettingsError(f"patience must be above 0 seconds, not {self.patience}")

    @classmethod
    def parse(cls, options: Sequence[str]) -> VllmSettings:
        """From `key=value` texts. Raises SettingsError for a name that is not known or a value that does not fit it."""
        types = {field.name: str(field.type).removesuffix(" | None") for field in fields(cls)}
        given: dict[str, Any] = {}
        for option in options:
            name, equals, text = option.partition("=")
            if not equals or name not in types:
                raise SettingsError(f"vLLM settings are name=value with a name of {', '.join(types)}; not {option!r}")
            given[name] = _value(name, types[name], text)
        return cls(**given)

    def engine_arguments(self) -> dict[str, Any]:
        """The keyword arguments of vLLM's engine, without those left to it."""
        ours = {"patience", "value_memory"}
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in ours}
        return {name: value for name, value in given.items() if value is not None}


def _value(name: str, kind: str, text: str) -> Any:
    try:
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        return {"int": int, "float": float, "str": str}[kind](text)
    except (KeyError, ValueError):
        expected = {"bool": "true or false", "int": "a whole number", "float": "a number"}[kind]
        raise SettingsError(f"{name} takes {expected}, not {text!r}") from None
