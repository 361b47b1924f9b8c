"""Decoding on x86-64 and ARM64 CPUs by our own kernels (kernels.c): attention over a tree's cache, sampling, and what is between
the products of blocks.py.

They are compiled when guided-gen is installed, where there is a C compiler, and use the instructions that the machine has,
AVX-512 VNNI, AVX-VNNI or AVX2, NEON's dot product or NEON alone, with the same results to the bit. All tensors are on the CPU,
and float32 where nothing else is said.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int, c_long, c_void_p
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

AVX2, AVX_VNNI, AVX512, NEON, NEON_DOT = 1, 2, 3, 4, 5


def levels() -> tuple[int, ...]:
    """The levels of instructions that the kernels have and this machine has, the best last; none where they cannot be used."""
    return _loaded()[1]


def compute(tensor: torch.Tensor) -> bool:
    """Whether the kernels are there for computing with this tensor. The tensor is of any shape."""
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and bool(levels())


def attend(cells: torch.Tensor) -> bool:
    """Whether the kernels are there for attending to keys and values [...] of this type, 32 or 16 bits a number."""
    return compute(cells) or (cells.dtype == torch.float16 and cells.device.type == "cpu" and bool(levels()))


def use(chosen: int) -> None:
    """Use one of `levels()`; at first it is the best."""
    library().gg_use(chosen)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """x [..., K] over the root of its mean square, times weight [K]."""
    x = x.contiguous()
    out = torch.empty_like(x)
    width = x.shape[-1]
    require(width > 0 and weight.shape == (width,))
    library().gg_rms_norm(
        address(x), address(weight), epsilon, out.data_ptr(), x.numel() // width, width, torch.get_num_threads()
    )
    return out


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """gate_up [..., 2 K] -> silu(gate) * up [..., K]."""
    gate_up = gate_up.contiguous()
    width = gate_up.shape[-1] // 2
    require(width > 0 and gate_up.shape[-1] % 2 == 0)
    out = gate_up.new_empty(*gate_up.shape[:-1], width)
    library().gg_silu_mul(address(gate_up), out.data_ptr(), out.numel() // width, width, torch.get_num_threads())
    return out


def rotate_(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> None:
    """Rotary embedding, in place: x [T, heads, d], heads and d dense; cosine and sine [T, r], r <= d: the first r dimensions
    turn.
    """
    cosine, sine = cosine.contiguous(), sine.contiguous()
    require(x.dtype == torch.float32 and x.dim() == 3 and x.stride(2) == 1 and x.stride(1) == x.shape[2])
    require(cosine.dim() == 2 and cosine.shape == sine.shape and len(cosine) == len(x))
    require(cosine.shape[1] <= x.shape[2] and cosine.shape[1] % 2 == 0)
    library().gg_rotate(
        x.data_ptr(),
        x.shape[0],
        x.shape[1],
        x.stride(0),
        x.shape[2],
        address(cosine),
        address(sine),
        cosine.shape[1],
        torch.get_num_threads(),
    )


def sum_up(logits: torch.Tensor, temperature: float) -> tuple[torch.Tensor, ...]:
    """Of each row of logits [K, V]: its largest x, the sums of e^(x - largest), e^((x - largest) / temperature) and
    (x - largest) e^(x - largest), and the sum of x; each [K].
    """
    logits = logits.contiguous()
    require(logits.dim() == 2 and logits.shape[1] > 0)
    out = logits.new_empty(len(logits), 5)
    library().gg_sum_up(address(logits), *logits.shape, 1 / temperature, out.data_ptr(), torch.get_num_threads())
    return out.unbind(dim=1)


def largest(logits: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`logits.topk(width)` of rows [K, V] -> values and places (int64) [K, width]; of equal ones the first comes first."""
    logits = logits.contiguous()
    require(logits.dim() == 2 and 0 < width <= logits.shape[1])
    values = logits.new_empty(len(logits), width)
    places = logits.new_empty(len(logits), width, dtype=torch.int64)
    library().gg_find_largest(
        address(logits), *logits.shape, width, values.data_ptr(), places.data_ptr(), torch.get_num_threads()
    )
    return values, places


class TreeAttention:
    """The attention of a step of B rows, each one token at the end of its own path below one of G prompts.

    `slots` [B] is where the rows' own keys and values go; `paths` [B, L] names each row's slots from the first generated token to
    its own, `lengths` [B] says how many there are; `prompts` [B] says which of the prompts a row is below. All int64.
    """

    def __init__(self, slots: torch.Tensor, paths: torch.Tensor, lengths: torch.Tensor, prompts: torch.Tensor) -> None:
        self._held = [slots.contiguous(), paths.contiguous(), lengths.contiguous(), prompts.contiguous()]
        require(paths.dim() == 2 and paths.numel() > 0)
        require(all(part.shape == paths.shape[:1] for part in (slots, lengths, prompts)))
        require(all(part.dtype == torch.int64 and part.device.type == "cpu" for part in self._held))
        require(min(int(part.min()) for part in self._held) >= 0)
        require(0 < int(lengths.min()) <= int(lengths.max()) <= paths.shape[1])
        self._slots, self._prompts = 1 + max(int(slots.max()), int(paths.max())), 1 + int(prompts.max())
        self._arguments = _Attention()
        self._arguments.rows, self._arguments.path_stride = paths.shape
        for name, tensor in zip(("slots", "paths", "lengths", "group_of_row"), self._held, strict=True):
            setattr(self._arguments, name, tensor.data_ptr())

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        cells: torch.Tensor,
        prompts: Sequence[tuple[torch.Tensor, torch.Tensor]],
        scale: float,
    ) -> torch.Tensor:
        """query [heads, B, d], key and value [kv_heads, B, d], d dense in all; cells [slots, 2, kv_heads, d], where the rows'
        keys and values are written; the prompts' keys and values [kv_heads, tokens, d], of the cells' type, float32 or float16
        -> [B, heads, d].
        """
        given = self._arguments
        given.heads, _, given.head_dim = query.shape
        given.kv_heads, given.groups, given.scale = key.shape[0], len(prompts), scale
        kv_shape = (cells.shape[2], given.rows, cells.shape[3])
        require(key.shape == value.shape == kv_shape and min(key.shape) > 0 and query.shape[1:] == key.shape[1:])
        require(query.shape[0] > 0 and query.shape[0] % key.shape[0] == 0)
        require(cells.shape[1] == 2 and self._slots <= len(cells) and self._prompts <= len(prompts))
        require(attend(cells) and cells.is_contiguous())
        require(all(part.dtype == torch.float32 and part.stride(2) == 1 for part in (query, key, value)))
        for keys, values in prompts:
            require(keys.dtype == values.dtype == cells.dtype and keys.shape == values.shape)
            require(keys.shape[::2] == key.shape[::2] and keys.stride(2) == values.stride(2) == 1)
            require(keys.shape[1] == 1 or keys.stride(1) == values.stride(1) == given.head_dim)
            require(len(keys) == 1 or keys.stride(0) == values.stride(0))
        for name, tensor in (("query", query), ("key", key), ("value", value)):
            setattr(given, name, tensor.data_ptr())
            setattr(given, f"{name}_head", tensor.stride(0))
            setattr(given, f"{name}_row", tensor.stride(1))
        given.cells, given.half = cells.data_ptr(), cells.dtype == torch.float16
        described = np.array(
            [
                [keys.data_ptr() for keys, _ in prompts],
                [values.data_ptr() for _, values in prompts],
                [keys.stride(0) for keys, _ in prompts],
                [keys.shape[1] for keys, _ in prompts],
            ],
            np.int64,
        )
        start, line = described.ctypes.data, described.strides[0]
        given.prompt_keys, given.prompt_values, given.prompt_head, given.prompt_tokens = (start + i * line for i in range(4))
        out = query.new_empty(query.shape[1], query.shape[0], query.shape[2])
        given.out = out.data_ptr()
        library().gg_attend(ctypes.byref(given), torch.get_num_threads())
        return out


class _Attention(ctypes.Structure):
    """`struct attention` of kernels.h."""

    _fields_ = [
        *((name, c_long) for name in ("rows", "heads", "kv_heads", "head_dim", "groups", "path_stride", "half")),
        ("scale", c_float),
        *((name, c_void_p) for name in ("query", "key", "value")),
        *((f"{name}_{step}", c_long) for name in ("query", "key", "value") for step in ("row", "head")),
        *((name, c_void_p) for name in ("cells", "slots", "paths", "lengths", "group_of_row")),
        *((name, c_void_p) for name in ("prompt_keys", "prompt_values", "prompt_head", "prompt_tokens", "out")),
    ]


_SIGNATURES = {
    "gg_use": [c_int],
    "gg_round": [c_void_p, c_long, c_long, c_void_p, c_int],
    "gg_times": [c_void_p, c_void_p, c_long, c_void_p, c_void_p, c_long, c_int],
    "gg_pack": [c_void_p, c_void_p, c_long, c_long, c_int],
    "gg_rows": [c_void_p, c_void_p, c_long, c_void_p, c_long, c_int],
    "gg_before_attention": [c_void_p, c_void_p, c_long, c_void_p, c_void_p, c_long, c_void_p, c_int],
    "gg_after_attention": [c_void_p, c_void_p, c_void_p, c_long, c_void_p, c_int],
    "gg_rms_norm": [c_void_p, c_void_p, c_float, c_void_p, c_long, c_long, c_int],
    "gg_silu_mul": [c_void_p, c_void_p, c_long, c_long, c_int],
    "gg_rotate": [c_void_p, *[c_long] * 4, c_void_p, c_void_p, c_long, c_int],
    "gg_attend": [c_void_p, c_int],
    "gg_sum_up": [c_void_p, c_long, c_long, c_float, c_void_p, c_int],
    "gg_find_largest": [c_void_p, c_long, c_long, c_long, c_void_p, c_void_p, c_int],
}


def require(holds: bool) -> None:
    """The kernels take addresses: what does not fit together would be read and written beyond its end. Raises ValueError."""
    if not holds:
        raise ValueError("tensors of shapes, strides or types that the kernels do not take")


def address(tensor: torch.Tensor) -> int:
    """The address of a dense float32 tensor on the CPU, of any shape. Raises ValueError for another."""
    require(tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.is_contiguous())
    return tensor.data_ptr()


def library() -> Any:
    library, found = _loaded()
    assert found
    return library


@cache
def _loaded() -> tuple[Any, tuple[int, ...]]:
    """The compiled kernels with their levels: none where they were not compiled, or for another machine or from older sources."""
    spec = find_spec(f"{__package__}._kernels")
    if spec is None or spec.origin is None:
        return None, ()
    try:
        library = ctypes.CDLL(spec.origin)
        found = tuple(level for level in (AVX2, AVX_VNNI, AVX512, NEON, NEON_DOT) if library.gg_has(level))
    except (OSError, AttributeError):
        return None, ()
    if not found:
        return None, ()
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    for name in ("gg_rounded_bytes", "gg_plane_bytes", "gg_scale_bytes"):
        getattr(library, name).argtypes, getattr(library, name).restype = [c_long] * (2 + (name != "gg_rounded_bytes")), c_long
    library.gg_use(found[-1])
    return library, found
