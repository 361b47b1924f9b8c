"""A base model's layers: copies of some of them for a tail, and a pass through the lower ones that a value model shares.

Copies come from a loaded model or straight from the weight files of its folder, a few layers and not the whole model: the
loaded one may be quantised, and a tail is not.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from ..engine.cpu.model import CpuDecoder, CpuModel
from ..engine.layout import Layout
from ..engine.models.architecture import FAMILIES
from ..engine.models.context import original_context
from ..engine.models.float_models import fill, model_config, opened_tensors
from .made_for import ValueModelError
from .packing import Pack, join_packs, pack_sequence


@dataclass(frozen=True)
class Blocks:
    """Decoder layers, the norm above them, and the rotary embedding that they share, with a configuration of their own."""

    layers: nn.ModuleList
    norm: nn.Module
    rotary: nn.Module
    config: Any


def layer_count(config: Any) -> int:
    count: int = config.num_hidden_layers
    return count


class StoredConfig(SimpleNamespace):
    """A configuration as it was saved, for who needs its numbers and none of transformers' classes."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


def stored_config(raw: Mapping[str, Any], layers: int) -> Any:
    """The configuration that was saved as `raw`, for a tail of so many layers: without any, transformers is not imported."""
    if not layers and raw["model_type"] in FAMILIES:
        return StoredConfig(**raw)
    from transformers import AutoConfig

    base_config = dict(raw)
    return AutoConfig.for_model(base_config.pop("model_type"), **base_config)


def empty_blocks(config: Any, first: int, count: int) -> Blocks:
    """`count` layers from `first` on and the final norm, with their shapes and without weights (on the meta device)."""
    config = copy.deepcopy(config)
    if not count and config.model_type in FAMILIES:  # whose norms are torch's own, so that a probe needs no more than torch
        norm = nn.RMSNorm(config.hidden_size, eps=config.rms_norm_eps, device="meta")
        return Blocks(nn.ModuleList(), norm, nn.Identity(), config)
    from transformers import AutoModelForCausalLM

    from ..engine.torch_backend import tree_attention

    config.name_or_path = ""  # where this machine keeps it is no part of what is saved
    config._attn_implementation = tree_attention.NAME
    with torch.device("meta"):
        decoder = AutoModelForCausalLM.from_config(config).get_decoder()  # type: ignore[no-untyped-call]
    rotary = type(decoder.rotary_emb)(decoder.config)
    decoder.config._attn_implementation = tree_attention.NAME
    return Blocks(nn.ModuleList(decoder.layers[first : first + count]), decoder.norm, rotary, config)


def copied_blocks(base: Any, first: int, count: int) -> Blocks:
    """Copies, in float32, of the layers and the final norm of `base`: a loaded causal language model or its files (Path).
    Raises ValueModelError.
    """
    if isinstance(base, CpuModel):
        raise ValueModelError("a tail is copied from float weights; give the path of a quantised base instead of the model")
    if isinstance(base, Path):
        blocks = empty_blocks(model_config(base), first, count)
        _load_layers(base, blocks, first)
        return blocks
    decoder = base.get_decoder()
    blocks = empty_blocks(base.config, first, count)
    for own, original in zip([*blocks.layers, blocks.norm], [*decoder.layers[first : first + count], decoder.norm], strict=True):
        state = original.state_dict()
        if own.state_dict().keys() != state.keys() or any(not tensor.is_floating_point() for tensor in state.values()):
            raise ValueModelError("a tail is copied from float weights; give the path of a quantised base instead of the model")
        own.load_state_dict({name: tensor.detach().float().clone() for name, tensor in state.items()}, assign=True)
    return blocks


def _load_layers(path: Path, blocks: Blocks, first: int) -> None:
    with opened_tensors(path) as source:
        fill(blocks.norm, {name: f"model.norm.{name}" for name in blocks.norm.state_dict()}, source.tensors, torch.float32)
        for i, layer in enumerate(blocks.layers):
            names = {name: f"model.layers.{first + i}.{name}" for name in layer.state_dict()}
            fill(layer, names, source.tensors, torch.float32)


def run_layers(
    layers: Sequence[nn.Module] | nn.ModuleList, rotary: nn.Module, states: torch.Tensor, pack: Pack, keep: Sequence[int] = ()
) -> list[torch.Tensor]:
    """States [T, H] through `layers` over a pack; returns those after the first k layers for each k in `keep`, or after all."""
    hidden, position_ids = states[None], pack.positions[None]
    position_embeddings = rotary(hidden, position_ids)
    layout = packed_layout(pack)
    kept = {0: hidden}
    for i, layer in enumerate(layers):
        hidden = layer(
            hidden,
            attention_mask=None,
            position_ids=position_ids,
            past_key_values=None,
            use_cache=False,
            position_embeddings=position_embeddings,
            layout=layout,
        )
        kept[i + 1] = hidden
        if i not in keep:
            del kept[i]
    return [kept[k][0] for k in keep] if keep else [hidden[0]]


@torch.no_grad()
def shared_states(base: Any, pack: Pack, fork_layers: Sequence[int]) -> list[torch.Tensor]:
    """What enters layer f of `base` (for f = all its layers: what leaves the last, before the norm), [T, H] for each f.

    Raises ValueModelError for texts beyond what LongRoPE reads by its first set of frequencies.
    """
    original = original_context(base.config)
    if original is not None and int(pack.positions.max()) >= original:
        raise ValueModelError(
            f"value models read texts of up to {original} tokens on a base that reads longer ones otherwise (LongRoPE)"
        )
    decoder = base.get_decoder()
    modules: list[Any] = []
    if not isinstance(decoder, CpuDecoder):
        from ..engine.torch_backend import tree_attention

        modules = tree_attention.attending(decoder)
    implementations = [(module, module.config._attn_implementation) for module in modules]
    for module, _ in implementations:
        module.config._attn_implementation = tree_attention.NAME
    try:
        embedded = decoder.embed_tokens(pack.token_ids)
        return run_layers(decoder.layers[: max(fork_layers)], decoder.rotary_emb, embedded, pack, keep=fork_layers)
    finally:
        for module, implementation in implementations:
            module.config._attn_implementation = implementation


def last_states(base: Any, texts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """The states below the LM head of `base` at all tokens of each text, [T, H] each, all from one pass without padding."""
    decoder = base.get_decoder()
    [states] = shared_states(base, join_packs([pack_sequence(ids) for ids in texts]), [len(decoder.layers)])
    return list(torch.split(decoder.norm(states), [len(ids) for ids in texts]))


# -- attention over a pack, as the layouts of the engine's attention function
#
# On a CPU the rows go in blocks, each against only the tokens that some row of the block sees: with depth-first order these are
# the block itself and the one path above it, so that the cost grows with tokens x depth, not with tokens squared, and no T x T
# mask is made. On CUDA FlexAttention skips the same parts from the mask function alone.


BLOCK = 256
"""Rows a block: smaller ones waste less on masked pairs, larger ones make better matrix products."""


def packed_layout(pack: Pack) -> Layout:
    """The layout for the device that the pack is on."""
    return FlexLayout(pack) if pack.ends.device.type == "cuda" else BlockLayout(pack)


class BlockLayout:
    """Scaled-dot-product attention, block of rows after block of rows."""

    def __init__(self, pack: Pack, block: int = BLOCK) -> None:
        order = torch.arange(len(pack), device=pack.ends.device)
        self._blocks: list[tuple[slice, torch.Tensor, torch.Tensor]] = []
        for start in range(0, len(pack), block):
            rows = order[start : start + block]
            seen = torch.nonzero(pack.ends[: start + len(rows)] > start)[:, 0]
            mask = (seen <= rows[:, None]) & (rows[:, None] < pack.ends[seen])
            self._blocks.append((slice(start, start + len(rows)), seen, mask))

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        outputs = [
            scaled_dot_product_attention(
                query[:, :, rows], key[:, :, seen], value[:, :, seen], attn_mask=mask, scale=scale, enable_gqa=grouped
            )
            for rows, seen, mask in self._blocks
        ]
        return torch.cat(outputs, dim=2).transpose(1, 2)


class FlexLayout:
    """FlexAttention, compiled on CUDA."""

    def __init__(self, pack: Pack) -> None:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        ends, size = pack.ends, len(pack)

        def on_path(batch: Any, head: Any, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            return (column <= row) & (row < ends[column])

        self._mask = create_block_mask(on_path, None, None, size, size, device=ends.device)
        self._attention: Any = torch.compile(flex_attention, dynamic=True) if ends.device.type == "cuda" else flex_attention

    def attend(self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        grouped = query.shape[1] != key.shape[1]
        out: torch.Tensor = self._attention(query, key, value, block_mask=self._mask, scale=scale, enable_gqa=grouped)
        return out.transpose(1, 2)
