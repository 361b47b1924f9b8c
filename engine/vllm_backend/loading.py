"""From a model's name to one that vLLM serves: resolve the files, choose the precision, start the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..errors import SettingsError
from ..models.files import model_identity, resolve_model
from ..models.known import DEFAULT_MODEL
from ..models.loaded_model import LoadedModel
from ..models.tokenizer_loading import end_ids, load_tokenizer
from ..progress import stage
from ..tail import Tail
from .engine import VllmEngine, import_vllm
from .model import VllmLanguageModel
from .plugin import FORKED, forked_name
from .pooling import Classifier, PooledLanguageModel, shared_memory
from .settings import VllmSettings
from .tail import write_tail

SAMPLER = "guided_gen.engine.vllm_backend.sampler:CounterBasedSampler"


def load_vllm(
    name: str = DEFAULT_MODEL,
    precision: str = "auto",
    tail: Tail | None = None,
    settings: VllmSettings | None = None,
    classifier: Path | None = None,
) -> LoadedModel:
    """As `loading.load_model`, served by vLLM. `classifier`: an exported value model's folder, served beside it.

    Raises BackendError where vLLM is missing or does not start.
    """
    import_vllm()
    chosen = vllm_precision(precision)
    path = resolve_model(name)
    settings = settings or VllmSettings()
    with _as_folder(path, chosen) as folder:  # which vLLM reads while it starts, and never again
        if classifier is None:
            model = start(folder, chosen, tail, settings)
        else:
            model = start_with_classifier(folder, chosen, classifier, settings)
    tokenizer = load_tokenizer(path)
    return LoadedModel(model, tokenizer, end_ids(path, tokenizer), model_identity(path), chosen, path)


@contextmanager
def _as_folder(path: Path, precision: str) -> Iterator[Path]:
    """A model folder as it is, a GGUF as a temporary folder of floats: vLLM has no kernels for its blocks on all machines."""
    if not path.is_file():
        yield path
        return
    from ..models.float_models import float_model

    with tempfile.TemporaryDirectory(prefix="guided-gen-model-") as temporary:
        with stage(f"Writing {path.name} as {precision} for vLLM"):
            float_model(path, getattr(torch, precision)).save_pretrained(temporary)
        yield Path(temporary)


def vllm_precision(precision: str) -> str:
    """`auto` is bfloat16 on CUDA and float32 on a CPU. Raises SettingsError for one that vLLM does not have."""
    if precision == "auto":
        return "bfloat16" if torch.cuda.is_available() else "float32"
    if precision not in ("float32", "bfloat16"):
        raise SettingsError(f"with vLLM there is no precision {precision!r}; there are float32 and bfloat16")
    return precision


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
