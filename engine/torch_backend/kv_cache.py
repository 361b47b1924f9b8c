"""The KV cache as a tree: one slot a generated token, shared by all candidates that pass through it; a prompt is stored once.

`PromptCache` holds a prompt's keys and values as dense tensors, which all candidates' queries meet without a copy. `SlotPool`
holds generated tokens; a candidate's path is a row of slot numbers. The layouts say which tokens of a step attend to what.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from ..cpu import kernels

_FIRST_SLOTS = 1024
_SHORT = 64  # paths up to this length are not parted further


class SlotPool:
    """Slots for generated tokens: for each layer, of a type of its own, a tensor [slots, 2 (key, value), kv_heads, head_dim].
    Freed slots are used again.
    """

    def __init__(self, dtypes: Sequence[torch.dtype], kv_heads: int, head_dim: int, device: torch.device) -> None:
        self._layers = [torch.empty(0, 2, kv_heads, head_dim, dtype=dtype, device=device) for dtype in dtypes]
        self._free: list[int] = []

    @property
    def used(self) -> int:
        return self._layers[0].shape[0] - len(self._free)

    def allocate(self, count: int) -> list[int]:
        if len(self._free) < count:
            self._grow(count)
        taken = self._free[-count:][::-1] if count else []
        del self._free[len(self._free) - count :]
        return taken

    def free(self, slots: Sequence[int]) -> None:
        self._free.extend(slots)
        if not self.used:  # an idle pool holds no memory
            self._layers = [layer.new_empty(0, *layer.shape[1:]) for layer in self._layers]
            self._free = []

    def _grow(self, count: int) -> None:
        """Raise the capacity by half or more, a layer at a time, so that no more than one layer is held twice."""
        old = self._layers[0].shape[0]
        new = max(_FIRST_SLOTS, old + old // 2, old + count)
        for i, layer in enumerate(self._layers):
            grown = _fresh(layer, new)
            grown[:old] = layer
            self._layers[i] = grown
        self._free = list(range(new - 1, old - 1, -1)) + self._free

    def __getitem__(self, layer: int) -> torch.Tensor:
        return self._layers[layer]


def _fresh(like: torch.Tensor, rows: int) -> torch.Tensor:
    """[rows, ...] of the shape, dtype and device of `like`. On a CPU memory of its own: it is the system's until it is written
    to, and again when it goes, so that growing leaves no holes in the heap.
    """
    if like.device.type != "cpu":
        return like.new_empty(rows, *like.shape[1:])
    size = rows * math.prod(like.shape[1:]) * like.element_size()
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=like.dtype).view(rows, *like.shape[1:])


class PromptCache:
    """A prompt's keys and values: for each layer, of the type that is named, two tensors [kv_heads, tokens, head_dim].

    `states`: the model's last state [1, H] at some of its tokens, by how many tokens are read there. `is_long`: whether it
    belongs to a text that LongRoPE reads by its second frequencies.
    """

    def __init__(self, token_ids: Sequence[int], dtypes: Sequence[torch.dtype], is_long: bool = False) -> None:
        self.token_ids = list(token_ids)
        self.is_long = is_long
        self.keys = [torch.empty(0, dtype=dtype) for dtype in dtypes]
        self.values = list(self.keys)
        self.states: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return len(self.token_ids)

    def keep(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """keys and values [kv_heads, tokens, head_dim] of all tokens."""
        dtype = self.keys[layer].dtype
        self.keys[layer], self.values[layer] = (part.to(dtype).contiguous() for part in (keys, values))

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def first(self, length: int) -> PromptCache:
        """The cache of the first `length` tokens, a view of this one."""
        view = PromptCache(self.token_ids[:length], (), self.is_long)
        view.keys = [keys[:, :length] for keys in self.keys]
        view.values = [values[:, :length] for values in self.values]
        view.states = {read: state for read, state in self.states.items() if read <= length}
        return view


class PrefillLayout:
    """A step that reads a whole prompt and fills its cache."""

    def __init__(self, prompt: PromptCache) -> None:
        self._prompt = prompt

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """query [1, heads, T, d], key and value [1, kv_heads, T, d] -> [1, T, heads, d]."""
        self._prompt.keep(layer, key[0], value[0])
        grouped = query.shape[1] != key.shape[1]
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=grouped).transpose(1, 2)


class DecodeLayout:
    """A step of B rows, each one token at the end of its own path.

    `groups` lists (prompt, number of rows) in the order of the rows; `slots` [B] is where the rows' own keys and values go;
    `paths` [B, L] names each row's slots from the first generated token to its own, padded with any valid slot; `lengths` [B].
    Attends by our kernel where there is one for the pool's device and dtype.
    """

    def __init__(
        self,
        pool: SlotPool,
        groups: Sequence[tuple[PromptCache, int]],
        slots: torch.Tensor,
        paths: torch.Tensor,
        lengths: torch.Tensor,
    ) -> None:
        self._pool, self._groups, self._slots = pool, groups, slots
        self._kernel: kernels.TreeAttention | None = None
        if kernels.attend(pool[0]):
            counts = torch.tensor([count for _, count in groups])
            self._kernel = kernels.TreeAttention(slots, paths, lengths, torch.arange(len(groups)).repeat_interleave(counts))
        else:
            self._parts = [_Part.of(rows, paths, lengths, pool[0].dtype) for rows in _of_like_length(lengths)]
            self._order = torch.argsort(torch.cat([part.rows for part in self._parts]))

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """query [1, heads, B, d], key and value [1, kv_heads, B, d] -> [1, B, heads, d]."""
        cells = self._pool[layer]
        if self._kernel is not None:
            prompts = [(prompt.keys[layer], prompt.values[layer]) for prompt, _ in self._groups]
            return self._kernel(query[0], key[0], value[0], cells, prompts, scale)[None]
        cells[self._slots] = torch.stack([key[0], value[0]]).permute(2, 0, 1, 3)
        kv_heads, rows, width = key.shape[1:]
        queries = query[0].transpose(0, 1).reshape(rows, kv_heads, -1, width)  # heads that share a key stand together
        own_out, own_weight = self._attend_to_paths(cells, queries, scale)
        # All rows and heads that read one prompt head are the rows of one matrix product.
        together = queries.transpose(0, 1).reshape(1, kv_heads, -1, width)
        outputs, weights = [], []
        start = 0
        for prompt, count in self._groups:
            stop = start + count * queries.shape[2]
            out, weight = _attention(together[:, :, start:stop], prompt.keys[layer][None], prompt.values[layer][None], scale)
            outputs.append(out)
            weights.append(weight)
            start = stop
        out = torch.cat(outputs, dim=2).view(kv_heads, rows, -1, width).transpose(0, 1)
        weight = torch.cat(weights, dim=2).view(kv_heads, rows, -1).transpose(0, 1)
        share = torch.sigmoid(weight - own_weight)[..., None].to(out.dtype)
        return torch.lerp(own_out, out, share).reshape(1, rows, -1, width)

    def _attend_to_paths(self, cells: torch.Tensor, queries: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
        """queries [B, kv_heads, q, d] -> what they read on their own paths [B, kv_heads, q, d], its weight [B, kv_heads, q]."""
        kv_heads, heads, width = queries.shape[1:]
        outputs, weights = [], []
        for part in self._parts:
            own = cells.index_select(0, part.paths).view(len(part.rows), -1, 2, kv_heads, width)
            mask = part.mask.expand(-1, kv_heads, heads, -1)
            chosen = queries if len(self._parts) == 1 else queries[part.rows]
            out, weight = _attention(chosen, own[:, :, 0].transpose(1, 2), own[:, :, 1].transpose(1, 2), scale, mask)
            outputs.append(out)
            weights.append(weight)
        if len(self._parts) == 1:
            return outputs[0], weights[0]
        return torch.cat(outputs)[self._order], torch.cat(weights)[self._order]


@dataclass(frozen=True)
class _Part:
    """Rows of a step whose paths are about as long: rows [b], paths [b * l] padded to the longest, mask [b, 1, 1, l] to add."""

    rows: torch.Tensor
    paths: torch.Tensor
    mask: torch.Tensor

    @classmethod
    def of(cls, rows: torch.Tensor, paths: torch.Tensor, lengths: torch.Tensor, dtype: torch.dtype) -> _Part:
        longest = int(lengths[rows].max())
        beyond = torch.arange(longest, device=paths.device) >= lengths[rows, None]
        mask = torch.zeros(beyond.shape, dtype=dtype, device=paths.device).masked_fill_(beyond, float("-inf"))
        return cls(rows, paths[rows, :longest].flatten(), mask[:, None, None])


def _of_like_length(lengths: torch.Tensor) -> list[torch.Tensor]:
    """The rows, parted where lengths double: so less than half of what a step gathers is padding, however long a straggler is."""
    classes = torch.ceil(torch.log2(lengths.clamp(min=_SHORT).float()))
    return [torch.nonzero(classes == one)[:, 0] for one in torch.unique(classes)]


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention with the log of the sum of its weights, by which two parts of one attention are joined.

    query [b, h, q, d], key and value [b, h, k, d], mask [b, h, q, k] added -> [b, h, q, d], [b, h, q].
    """
    if query.device.type == "cpu":
        flash: Any = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out, weight = flash(query, key, value, attn_mask=mask, scale=scale)
        return out, weight
    scores = torch.matmul(query, key.transpose(2, 3)).float() * scale
    if mask is not None:
        scores = scores + mask
    weight = torch.logsumexp(scores, dim=-1)
    return torch.matmul((scores - weight[..., None]).exp().to(value.dtype), value), weight
