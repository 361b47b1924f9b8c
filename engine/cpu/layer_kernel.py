"""A decoder layer's operators but for its attention, in two calls of the kernels: between products of few rows, calls from Python
would take longer than the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, addressof, byref, c_float, c_long, c_void_p
from dataclasses import dataclass

import torch

from . import kernels
from .block_linear import BlockLinear

_MOST_PARTS = 3


@dataclass(frozen=True)
class Heads:
    """How many heads the queries have, and the keys and values, and how wide they are."""

    query: int
    key: int
    width: int


class LayerKernel:
    """Norms, products, rotation and gate of one layer."""

    def __init__(
        self,
        heads: Heads,
        linears: tuple[BlockLinear, BlockLinear, BlockLinear, BlockLinear],
        norms: tuple[torch.Tensor, torch.Tensor],
        head_norms: tuple[torch.Tensor, torch.Tensor] | None,
        epsilon: float,
    ) -> None:
        """`linears`: queries, keys and values in one, the attention's output, gate and up in one, down. `norms`: weights [H] of
        the norm before the attention and of that before the gate. `head_norms`: weights [d] of queries' and of keys' norms.
        Raises ValueError where their sizes do not fit.
        """
        qkv, o, gate_up, down = linears
        kernels.require(qkv.out_features == (heads.query + 2 * heads.key) * heads.width)
        kernels.require(o.in_features == heads.query * heads.width and gate_up.out_features == 2 * down.in_features)
        kernels.require(qkv.in_features == o.out_features == gate_up.in_features == down.out_features)
        kernels.require(all(norm.shape == (qkv.in_features,) for norm in norms))
        kernels.require(head_norms is None or all(norm.shape == (heads.width,) for norm in head_norms))
        self._hidden, self._heads = qkv.in_features, heads
        self._held = (linears, norms, head_norms)  # what the addresses below are of
        self._layer = _Layer()
        for name, linear in zip(("qkv", "o", "gate_up", "down"), linears, strict=True):
            setattr(self._layer, name, _described(linear))
        self._layer.attention_norm, self._layer.mlp_norm = (kernels.address(norm) for norm in norms)
        if head_norms is not None:
            self._layer.query_norm, self._layer.key_norm = (kernels.address(norm) for norm in head_norms)
        self._layer.epsilon = epsilon
        self._layer.heads, self._layer.kv_heads, self._layer.head_dim = heads.query, heads.key, heads.width

    def before_attention(self, hidden: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> Sequence[torch.Tensor]:
        """hidden [T, H], cosine and sine [T, r] -> queries [heads, T, d], keys and values [kv_heads, T, d], turned."""
        hidden, cosine, sine = hidden.contiguous(), cosine.contiguous(), sine.contiguous()
        rows, heads = len(hidden), self._heads
        kernels.require(hidden.shape == (rows, self._hidden) and rows > 0)
        kernels.require(cosine.shape == sine.shape == (rows, cosine.shape[1]))
        kernels.require(cosine.shape[1] <= heads.width and cosine.shape[1] % 2 == 0)
        qkv = torch.empty(rows, heads.query + 2 * heads.key, heads.width, device="cpu")
        kernels.library().gg_before_attention(
            byref(self._layer),
            kernels.address(hidden),
            rows,
            kernels.address(cosine),
            kernels.address(sine),
            cosine.shape[1],
            qkv.data_ptr(),
            torch.get_num_threads(),
        )
        return qkv.transpose(0, 1).split([heads.query, heads.key, heads.key])  # type: ignore[no-untyped-call]

    def after_attention(self, attended: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """attended [T, heads, d] and what the layer was given, hidden [T, H] -> what it gives [T, H]."""
        attended, hidden = attended.contiguous(), hidden.contiguous()
        rows = len(hidden)
        kernels.require(hidden.shape == (rows, self._hidden) and rows > 0)
        kernels.require(attended.shape == (rows, self._heads.query, self._heads.width))
        out = torch.empty_like(hidden)
        kernels.library().gg_after_attention(
            byref(self._layer), kernels.address(attended), kernels.address(hidden), rows, out.data_ptr(), torch.get_num_threads()
        )
        return out


class _Linear(Structure):
    """`struct linear` of kernels.h."""

    _fields_ = (
        ("parts", c_void_p * _MOST_PARTS),
        ("columns", c_long * _MOST_PARTS),
        *((name, c_long) for name in ("count", "inputs", "outputs")),
        ("bias", c_void_p),
    )


class _Layer(Structure):
    """`struct layer` of kernels.h."""

    _fields_ = (
        *((name, _Linear) for name in ("qkv", "o", "gate_up", "down")),
        *((name, c_void_p) for name in ("attention_norm", "query_norm", "key_norm", "mlp_norm")),
        ("epsilon", c_float),
        *((name, c_long) for name in ("heads", "kv_heads", "head_dim")),
    )


def _described(linear: BlockLinear) -> _Linear:
    described = _Linear(count=len(linear.parts), inputs=linear.in_features, outputs=linear.out_features)
    kernels.require(len(linear.parts) <= _MOST_PARTS)
    for i, (matrix, column) in enumerate(linear.parts):
        described.parts[i], described.columns[i] = addressof(matrix.described), column
    if linear.bias is not None:
        described.bias = kernels.address(linear.bias)
    return described
