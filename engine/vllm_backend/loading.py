"""From a model's files to one that vLLM serves, with a value tail or an exported value model."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import SettingsError
from ..models.context import original_context
from ..models.float_models import float_model, model_config
from ..progress import stage
from ..tail import Tail
from .engine import VllmEngine
from .model import VllmLanguageModel
from .plugin import FORKED, forked_name
from .pooling import Classifier, PooledLanguageModel, shared_memory
from .settings import VllmSettings
from .tail import write_tail

SAMPLER = "guided_gen.engine.vllm_backend.sampler:CounterBasedSampler"


def serve(
    path: Path, precision: str, tail: Tail | None, settings: VllmSettings, classifier: Path | None = None
) -> VllmLanguageModel:
    """The model in `path`, a folder or a GGUF, served by vLLM: alone, with a value tail, or beside the exported value model in
    the folder `classifier`. Raises BackendError where vLLM does not start.
    """
    _check_longrope(model_config(path), settings)
    with _as_folder(path, precision) as folder:  # which vLLM reads while it starts, and never again
        if classifier is None:
            return start(folder, precision, tail, settings)
        return start_with_classifier(folder, precision, classifier, settings)


def _check_longrope(config: Any, settings: VllmSettings) -> None:
    """vLLM reads all texts by one set of LongRoPE's frequencies: the second where texts longer than the first's are allowed."""
    original = original_context(config)
    if original is not None and (settings.max_model_len is None or settings.max_model_len > original):
        raise SettingsError(
            f"vLLM reads short texts with this model's LongRoPE right only where there are no long ones: set max_model_len to "
            f"{original} at most"
        )


@contextmanager
def _as_folder(path: Path, precision: str) -> Iterator[Path]:
    """A model folder as it is, a GGUF as a temporary folder of floats: vLLM has no kernels for its blocks on all machines."""
    if not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="guided-gen-model-") as temporary:
        with stage(f"Writing {path.name} as {precision} for vLLM"):
            float_model(path, getattr(torch, precision)).save_pretrained(temporary)
        yield Path(temporary)


def start(folder: Path, precision: str, tail: Tail | None, settings: VllmSettings) -> VllmLanguageModel:
    """Serve the model in `folder`, which needs no tokenizer, with a value tail in the same pass if one is given. Raises
    SettingsError.
    """
    arguments = settings.engine_arguments() | {
        "model": str(folder),
        "dtype": precision,
        "skip_tokenizer_init": True,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "logits_processors": [SAMPLER],
        "logprobs_mode": "processed_logits",
        "max_logprobs": 128,
    }
    if tail is None:
        return VllmLanguageModel(VllmEngine(arguments, settings.patience))
    if settings.pipeline_parallel_size > 1:
        raise SettingsError("a value model in the same pass does not run with pipeline_parallel_size above 1")
    # The workers read the tail while they start, and never again.
    with tempfile.TemporaryDirectory(prefix="guided-gen-tail-") as temporary:
        path = Path(temporary) / "tail.safetensors"
        write_tail(tail, path)
        arguments["hf_overrides"] = {"architectures": [_forked_architecture(folder)], "guided_gen_tail": str(path)}
        return VllmLanguageModel(VllmEngine(arguments, settings.patience), tail.head)


def start_with_classifier(folder: Path, precision: str, classifier: Path, settings: VllmSettings) -> PooledLanguageModel:
    """Serve the model in `folder`, and an exported value model in an engine of its own."""
    own, value = shared_memory(settings)
    served = Classifier(classifier, precision, value)
    try:
        return PooledLanguageModel(start(folder, precision, None, own).engine, served)
    except BaseException:
        served.engine.close()
        raise


def _forked_architecture(folder: Path) -> str:
    from transformers import AutoConfig

    [architecture] = AutoConfig.from_pretrained(folder, trust_remote_code=False).architectures
    if architecture not in FORKED:
        raise SettingsError(f"with vLLM a value model cannot fork off a {architecture}; it can off {', '.join(FORKED)}")
    return forked_name(architecture)
