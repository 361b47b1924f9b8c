"""Prompts that stay cached between calls, so that a conversation's next turn reads only what is new in it.

A prompt's keys and values depend on its tokens (and with LongRoPE on whether its text is a long one), so any prompt that begins
with the same tokens can go on from them. The store is bounded in bytes; what was used longest ago goes first. Where a prompt is
found whole, nothing is computed and what follows is equal to the bit; where a part is found, results are those of a fresh pass up
to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from .kv_cache import PromptCache


class PrefixStore:
    """Cached prompts by their tokens, the least recently used first."""

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self._held: list[tuple[np.ndarray, PromptCache]] = []

    def __len__(self) -> int:
        return len(self._held)

    @property
    def bytes(self) -> int:
        return sum(prompt.bytes for _, prompt in self._held)

    def longest(self, token_ids: Sequence[int], is_long: bool = False) -> tuple[PromptCache | None, int]:
        """The held prompt that shares most first tokens with `token_ids`, and how many these are; it counts as used."""
        wanted = np.asarray(token_ids)
        best, length = -1, 0
        for i, (held, cached) in enumerate(self._held):
            common = _common_length(held, wanted) if cached.is_long == is_long else 0
            if common > length:
                best, length = i, common
        if best < 0:
            return None, 0
        self._held.append(self._held.pop(best))
        return self._held[-1][1], length

    def add(self, prompt: PromptCache) -> None:
        """Hold a prompt in the place of those that it begins with; drop the least recently used beyond `max_bytes`."""
        tokens = np.asarray(prompt.token_ids)
        if prompt.bytes > self.max_bytes:
            return
        others = []
        for held, cached in self._held:
            common = _common_length(held, tokens) if cached.is_long == prompt.is_long else -1
            if common == len(tokens):  # all of it is held already, within a longer one
                cached.states |= prompt.states
                tokens, prompt = held, cached
            elif common == len(held):
                prompt.states |= cached.states
            else:
                others.append((held, cached))
        self._held = [*others, (tokens, prompt)]
        while self.bytes > self.max_bytes:
            del self._held[0]


class ContinuedLayout:
    """A step that reads the rest of a prompt whose first tokens are cached, and fills the prompt's cache with all of it."""

    def __init__(self, prompt: PromptCache, prefix: PromptCache, device: torch.device) -> None:
        self._prompt, self._prefix = prompt, prefix
        new = len(prompt) - len(prefix)
        self._mask = torch.ones(new, len(prompt), dtype=torch.bool, device=device).tril(len(prefix))

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """query [1, heads, T, d], key and value [1, kv_heads, T, d] of the T new tokens -> [1, T, heads, d]."""
        keys = torch.cat([self._prefix.keys[layer].to(key.dtype), key[0]], dim=1)
        values = torch.cat([self._prefix.values[layer].to(value.dtype), value[0]], dim=1)
        self._prompt.keep(layer, keys, values)
        grouped = query.shape[1] != key.shape[1]
        out = scaled_dot_product_attention(query, keys[None], values[None], attn_mask=self._mask, scale=scale, enable_gqa=grouped)
        return out.transpose(1, 2)


def _common_length(a: np.ndarray, b: np.ndarray) -> int:
    shorter = min(len(a), len(b))
    different = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(different[0]) if len(different) else shorter
