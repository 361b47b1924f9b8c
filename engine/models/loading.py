"""From a model's name to a language model that decodes: resolve the files, choose the precision, load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..cpu.allocation import keep_freed_memory
from ..cpu.model import CpuModel, cpu_supported
from ..errors import SettingsError
from ..language_model import LanguageModel
from ..tail import Tail
from ..torch_backend.model import TorchLanguageModel
from ..vllm_backend.engine import import_vllm
from ..vllm_backend.settings import VllmSettings
from .architecture import FAMILIES, architecture_of_config, architecture_of_gguf
from .files import model_identity, resolve_model
from .gguf_file import GgufFile
from .known import DEFAULT_MODEL
from .loaded_model import LoadedModel
from .tensors import FolderTensors, GgufTensors
from .tokenizer_loading import end_ids, load_tokenizer

PRECISIONS = {"torch": ("auto", "float32", "bfloat16", "int8"), "vllm": ("auto", "float32", "bfloat16")}  # of each backend


def load_model(
    name: str = DEFAULT_MODEL,
    precision: str = "auto",
    tail: Tail | None = None,
    backend: str = "torch",
    vllm: VllmSettings | None = None,
    classifier: Path | None = None,
) -> LoadedModel:
    """Load a model by name, folder, GGUF file or hub id. `precision` auto is bfloat16 on CUDA and
    int8 on a CPU that has the kernels for it, else float32.

    `backend` vllm serves it with vLLM, as `vllm` says, and has no int8: auto is float32 on a CPU. `classifier`: the folder of an
    exported value model, which vLLM serves beside it. Raises SettingsError for a precision or backend that there is not,
    ModelError for a model that is broken or not covered, BackendError where vLLM is missing or does not start.
    """
    if backend not in PRECISIONS:
        raise SettingsError(f"there is no backend {backend!r}; there are {' and '.join(PRECISIONS)}")
    if backend == "vllm":
        import_vllm()  # before the model is looked for, which may take minutes
    path = resolve_model(name)
    chosen = chosen_precision(precision, device_kind(), path, backend)
    tokenizer = load_tokenizer(path)
    language_model: LanguageModel
    if backend == "vllm":
        from ..vllm_backend.loading import serve

        language_model = serve(path, chosen, tail, vllm or VllmSettings(), classifier)
    else:
        language_model = TorchLanguageModel(load_weights(path, chosen, packed=True), tail)
        if tail is not None:
            from ..cpu.packed_linear import pack_linears_

            pack_linears_(tail.layers)
    return LoadedModel(language_model, tokenizer, end_ids(path, tokenizer), model_identity(path), chosen, path)


def with_reader(loaded: LoadedModel, name: str) -> LoadedModel:
    """`loaded` with a second model of the same tokens beside it, by name, folder, GGUF file or hub id, which reads all answers.

    Raises SettingsError where its tokens are others, ModelError.
    """
    from ..torch_backend.reader import ReadModel, TorchReader, check_same_tokens

    path = resolve_model(name)
    check_same_tokens(loaded.tokenizer, load_tokenizer(path), name)
    weights = load_weights(path, chosen_precision("auto", device_kind(), path), packed=True)
    return replace(loaded, language_model=ReadModel(loaded.language_model, TorchReader(weights)))


def device_kind() -> str:
    """Where models are loaded to: cuda where there is a GPU, else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def chosen_precision(precision: str, device: str, path: Path, backend: str = "torch") -> str:
    """What `auto` stands for on this device and backend, for the model in `path`; any other name as it is.

    Raises SettingsError for one that they do not have.
    """
    if precision not in PRECISIONS[backend]:
        where = "with vLLM " if backend == "vllm" else ""
        raise SettingsError(f"{where}there is no precision {precision!r}; there are {', '.join(PRECISIONS[backend])}")
    if precision == "int8" and device != "cpu":
        raise SettingsError("precision int8 is for CPUs; this machine decodes on its GPU: use bfloat16 or float32")
    if precision != "auto":
        return precision
    if device != "cpu":
        return "bfloat16"
    return "int8" if backend == "torch" and cpu_supported() and (path.is_file() or _family(path) in FAMILIES) else "float32"


def _family(folder: Path) -> str:
    from .float_models import model_config

    return str(model_config(folder).model_type)


def load_weights(path: Path, precision: str, packed: bool = False) -> Any:
    """The causal language model in a folder or a GGUF, in one of `PRECISIONS` but auto, on the GPU if there is one: a `CpuModel`,
    or a `*ForCausalLM` of transformers.

    `packed`: where it is float32 on a CPU its matrices are made faster, for decoding only (packed_linear.py).
    """
    model: Any
    if precision == "int8":
        model = load_cpu_model(path)
    else:
        from .float_models import float_model

        model = float_model(path, {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]).to(device_kind())
    if next(model.parameters()).device.type == "cpu":
        if packed and precision != "int8":
            from ..cpu.packed_linear import pack_linears_

            pack_linears_(model, None if path.is_file() else path)
        keep_freed_memory()  # only now: what loading needed is given back
    return model


def load_cpu_model(path: Path) -> CpuModel:
    """The model in a folder or a GGUF, for our kernels."""
    if path.is_file():
        with GgufFile(path) as file:
            architecture = architecture_of_gguf(file)
            return CpuModel(architecture, GgufTensors(file, architecture)).eval()
    from .float_models import model_config

    return CpuModel(architecture_of_config(model_config(path)), FolderTensors(path)).eval()
