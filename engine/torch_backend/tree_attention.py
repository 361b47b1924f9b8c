"""The attention function through which the layers of transformers' models attend: it only asks a step's layout.

Importing this imports what transformers needs for any model, which an int8 model does without.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface

from ..layout import Layout

NAME = "guided_gen_tree"


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    layout: Layout,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """See `Layout.attend`; the layout holds the cache. query [1, heads, T, d], key and value [1, kv_heads, T, d] -> [1, T,
    heads, d].
    """
    return layout.attend(module.layer_idx, query, key, value, scaling), None  # type: ignore[arg-type]


AttentionInterface.register(NAME, tree_attention)


def attending(decoder: Any) -> list[Any]:
    """The modules of a transformers decoder that look up an attention function; its layers may hold a config of their own."""
    return [decoder, *(layer.self_attn for layer in decoder.layers)]
