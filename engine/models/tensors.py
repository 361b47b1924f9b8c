"""A model's tensors by the names that they have in transformers, read a few rows at a time from a GGUF or from safetensors.

Matrices in a GGUF can be read as the blocks that are stored, or as the floats that they stand for. Every matrix is asked for with
the shape that it must have, and numbers that are not finite are an error: nothing is filled in, nothing is passed on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from ..errors import ModelError
from .architecture import ROPE_TENSORS, Architecture, tensor_names
from .gguf_file import GGML_TYPES, GgufFile, GgufTensor

PIECE_BYTES = 1 << 20
"""Of a matrix that are held at once while it is read, as floats or as blocks: no more than a processor's cache."""

BLOCK_TYPES = ("Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
"""Types of GGML that are covered, beside floats."""

_FLOAT_TYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class StoredMatrix(Protocol):
    """A matrix [N, K] in a file. `block_type`: GGML's number of the blocks that `blocks` gives, None for stored floats.

    A piece may be overwritten by the next one.
    """

    shape: tuple[int, ...]
    block_type: int | None

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Pieces: the first row of each and the stored rows, uint8 [n, bytes_per_row]."""

    def floats(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Pieces: the first row of each and the rows, float32 [n, K]."""


class Tensors(Protocol):
    """The files of one model."""

    def __contains__(self, name: str) -> bool: ...

    def matrix(self, name: str, shape: tuple[int, int]) -> StoredMatrix:
        """Raises ModelError."""

    def vector(self, name: str, size: int) -> torch.Tensor:
        """float32 [size]. Raises ModelError."""


# -- GGUF

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` -> `blk.3.ffn_up.weight`."""
    stem, _, kind = name.rpartition(".")
    if stem in _WHOLE:
        return f"{_WHOLE[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


class GgufTensors:
    """The tensors of a GGUF file."""

    def __init__(self, file: GgufFile, architecture: Architecture) -> None:
        """Raises ModelError where the file holds a tensor that such a model has no use for."""
        self._file, self._architecture = file, architecture
        unknown = file.tensors.keys() - {gguf_name(name) for name in tensor_names(architecture)} - ROPE_TENSORS
        if unknown:
            raise ModelError(f"{file.path} holds the tensor {min(unknown)}, which is not covered")

    def __contains__(self, name: str) -> bool:
        return gguf_name(name) in self._file.tensors

    def matrix(self, name: str, shape: tuple[int, int]) -> GgufMatrix:
        return GgufMatrix(self._file, self._tensor(name, shape), self._order(name))

    def vector(self, name: str, size: int) -> torch.Tensor:
        """A float32 vector [size]. Raises ModelError where it is missing or of another size."""
        tensor = self._tensor(name, (size,))
        if tensor.type_name not in _FLOAT_TYPES:
            raise ModelError(f"{self._file.path} holds {tensor.name} as {tensor.type_name}, which is not covered for a vector")
        numbers = _finite(_floats(self._file.rows(tensor, 0, 1), tensor.type_name), self._file.path, tensor.name)[0]
        order = self._order(name)
        return numbers if order is None else numbers[torch.from_numpy(order)]

    def _tensor(self, name: str, shape: tuple[int, ...]) -> GgufTensor:
        tensor = self._file.tensors.get(gguf_name(name))
        if tensor is None:
            raise ModelError(f"{self._file.path} holds no tensor {gguf_name(name)}")
        if tensor.shape != shape:
            raise ModelError(
                f"{self._file.path} holds {tensor.name} in the shape {list(tensor.shape)}, where its sizes make it {list(shape)}"
            )
        return tensor

    def _order(self, name: str) -> np.ndarray | None:
        """Where a matrix's rows lie in the file: for llama the two halves of a head's queries and keys are stored in turn."""
        heads = {"q_proj": self._architecture.num_attention_heads, "k_proj": self._architecture.num_key_value_heads}
        part = name.split(".")[-2]
        if self._architecture.model_type != "llama" or part not in heads:
            return None
        head_dim = self._architecture.head_dim
        return np.arange(heads[part] * head_dim).reshape(heads[part], head_dim // 2, 2).swapaxes(1, 2).flatten()


class GgufMatrix:
    """A matrix in a GGUF, whose row i is the stored row `order[i]` where there is an order. See StoredMatrix."""

    def __init__(self, file: GgufFile, tensor: GgufTensor, order: np.ndarray | None) -> None:
        self._file, self._tensor, self._order = file, tensor, order
        rows, columns = tensor.shape
        self.shape: tuple[int, ...] = (rows, columns)
        self.block_type: int | None = tensor.kind if tensor.type_name in BLOCK_TYPES else None
        if self.block_type is None and tensor.type_name not in _FLOAT_TYPES:
            covered = [*_FLOAT_TYPES, *BLOCK_TYPES]
            raise ModelError(
                f"{file.path} holds {tensor.name} as {tensor.type_name}, which is not covered; {', '.join(covered)} are"
            )

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        assert self.block_type is not None
        for first, stored in self._pieces(self._tensor.bytes_per_row):
            _check_scales(stored, self._tensor.type_name, self._file.path, self._tensor.name)
            yield first, stored

    def floats(self) -> Iterator[tuple[int, torch.Tensor]]:
        for first, stored in self._pieces(4 * self.shape[1]):
            yield first, _finite(_floats(stored, self._tensor.type_name), self._file.path, self._tensor.name)

    def _pieces(self, bytes_per_row: int) -> Iterator[tuple[int, np.ndarray]]:
        rows = self.shape[0]
        if self._order is not None:  # a projection, small enough to be held whole
            yield 0, self._file.rows(self._tensor, 0, rows)[self._order]
            return
        step = min(max(PIECE_BYTES // bytes_per_row // 32, 1) * 32, rows)
        piece = np.empty(step * self._tensor.bytes_per_row, np.uint8)
        for first in range(0, rows, step):
            yield first, self._file.rows(self._tensor, first, min(step, rows - first), piece)


def _floats(stored: np.ndarray, type_name: str) -> torch.Tensor:
    """Stored rows uint8 [n, bytes] -> float32 [n, K]."""
    if type_name == "BF16":
        return torch.from_numpy(stored).view(torch.bfloat16).float()
    if type_name in _FLOAT_TYPES:
        return torch.from_numpy(stored.view(_FLOAT_TYPES[type_name])).float()
    from gguf import GGMLQuantizationType, dequantize

    return torch.from_numpy(dequantize(stored, GGMLQuantizationType[type_name]))


# Where a block's scales stand, two bytes each.
_SCALES = {
    "Q4_0": (0,),
    "Q5_0": (0,),
    "Q8_0": (0,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
}


def _check_scales(stored: np.ndarray, type_name: str, path: Path, name: str) -> None:
    [size] = [size for known, _, size in GGML_TYPES.values() if known == type_name]
    blocks = stored.reshape(-1, size)
    for at in _SCALES[type_name]:
        exponents = blocks[:, at + 1] & 0x7C
        if (exponents == 0x7C).any():
            raise ModelError(f"{path} holds numbers in {name} that are not finite: it is broken")


def _finite(numbers: torch.Tensor, path: Path, name: str) -> torch.Tensor:
    if not torch.isfinite(numbers).all():
        raise ModelError(f"{path} holds numbers in {name} that are not finite: it is broken")
    return numbers


# -- safetensors


class FolderTensors:
    """The tensors of a folder's safetensors files. Each reading has a mapping of its own, which goes with what was read."""

    def __init__(self, folder: Path) -> None:
        """Raises ModelError for files that are cut off, empty or none of safetensors."""
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return name in self.files

    @cached_property
    def files(self) -> dict[str, Path]:
        """Which file holds which tensor."""
        index, whole = self.folder / "model.safetensors.index.json", self.folder / "model.safetensors"
        if not index.is_file():
            with _opened(whole) as file:
                return dict.fromkeys(file.keys(), whole)
        return {name: self.folder / part for name, part in read_index(index).items()}

    def matrix(self, name: str, shape: tuple[int, int]) -> FolderMatrix:
        return FolderMatrix(self._file(name), name, shape)

    def vector(self, name: str, size: int) -> torch.Tensor:
        """A float32 vector [size]. Raises ModelError where it is missing or of another size."""
        [(_, numbers)] = FolderMatrix(self._file(name), name, (size,)).floats()
        return numbers.clone()  # the file's mapping goes

    def _file(self, name: str) -> Path:
        if name not in self.files:
            raise ModelError(f"{self.folder} holds no tensor {name}")
        return self.files[name]


class FolderMatrix:
    """A matrix, or a vector, in a safetensors file. See StoredMatrix."""

    block_type: int | None = None

    def __init__(self, path: Path, name: str, shape: tuple[int, ...]) -> None:
        self._path, self._name, self.shape = path, name, shape
        with _opened(path) as file:
            if name not in set(file.keys()):
                raise ModelError(f"{path} holds no tensor {name}, which its index names")
            stored = file.get_slice(name)
            found, kind = tuple(stored.get_shape()), stored.get_dtype()
        if found != shape:
            raise ModelError(f"{path} holds {name} in the shape {list(found)}, where its configuration makes it {list(shape)}")
        if kind not in ("F32", "F16", "BF16", "F64"):
            raise ModelError(f"{path} holds {name} as {kind}, which is not covered; plain floats are")

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Pieces of the matrix as Q8_0 blocks: their first row, and uint8 [rows, bytes]."""
        raise AssertionError("safetensors hold floats")

    def floats(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Pieces of the matrix: their first row, and float32 [rows, columns]."""
        step = max(PIECE_BYTES // (4 * self.shape[-1]) // 32, 1) * 32 if len(self.shape) == 2 else self.shape[0]
        for first in range(0, self.shape[0], step):
            with _opened(self._path) as file:
                yield first, _finite(file.get_slice(self._name)[first : first + step].float(), self._path, self._name)


def read_index(path: Path) -> dict[str, str]:
    """Which file holds which tensor, as an index of safetensors says. Raises ModelError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if all(isinstance(part, str) and part == Path(part).name for part in found.values()):
            return dict(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise ModelError(f"{path} is no index of safetensors files: it is broken or was not downloaded whole")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is no whole safetensors file: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
