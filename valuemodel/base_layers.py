"""A base model's layers: copies of some of them for a tail, and a pass through the lower ones that a value model shares.

Copies come from a loaded model or straight from the weight files of its folder, a few layers and not the whole model: the
loaded one may be quantised, and a tail is not.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from ..engine.cpu.int8_model import Int8Decoder
from ..engine.errors import GuidedGenError
from ..engine.torch_backend import tree_attention
from .packed_attention import packed_layout
from .packing import Pack, join_packs, pack_sequence


class BaseModelError(GuidedGenError):
    """A base that a value model cannot be made from, or not with these settings."""


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


def empty_blocks(config: Any, first: int, count: int) -> Blocks:
    """`count` layers from `first` on and the final norm, with their shapes and without weights (on the meta device)."""
    config = copy.deepcopy(config)
    config.name_or_path = ""  # where this machine keeps it is no part of what is saved
    config._attn_implementation = tree_attention.NAME
    with torch.device("meta"):
        decoder = AutoModelForCausalLM.from_config(config).get_decoder()  # type: ignore[no-untyped-call]
    rotary = type(decoder.rotary_emb)(decoder.config)
    decoder.config._attn_implementation = tree_attention.NAME
    return Blocks(nn.ModuleList(decoder.layers[first : first + count]), decoder.norm, rotary, config)


def copied_blocks(base: Any, first: int, count: int) -> Blocks:
    """Copies, in float32, of the layers and the final norm of `base`: a loaded causal language model or its folder (Path)."""
    if isinstance(base, Path):
        blocks = empty_blocks(AutoConfig.from_pretrained(base), first, count)
        _load_layers(base, blocks, first)
        return blocks
    decoder = base.get_decoder()
    blocks = empty_blocks(base.config, first, count)
    for own, original in zip([*blocks.layers, blocks.norm], [*decoder.layers[first : first + count], decoder.norm], strict=True):
        state = original.state_dict()
        if own.state_dict().keys() != state.keys() or any(not tensor.is_floating_point() for tensor in state.values()):
            raise BaseModelError("a tail is copied from float weights; give the folder of a quantised base instead of the model")
        own.load_state_dict({name: tensor.detach().float().clone() for name, tensor in state.items()}, assign=True)
    return blocks


def _load_layers(folder: Path, blocks: Blocks, first: int) -> None:
    wanted: dict[str, tuple[nn.Module, str]] = {f"norm.{name}": (blocks.norm, name) for name in blocks.norm.state_dict()}
    for i, layer in enumerate(blocks.layers):
        wanted |= {f"layers.{first + i}.{name}": (layer, name) for name in layer.state_dict()}
    found: dict[nn.Module, dict[str, torch.Tensor]] = {}
    for file in _weight_files(folder):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118  (safe_open is no dict)
                place = wanted.pop(name.removeprefix("model."), None)
                if place:
                    found.setdefault(place[0], {})[place[1]] = weights.get_tensor(name).float()
    if wanted:
        raise BaseModelError(f"{folder} has no weights named {next(iter(wanted))}")
    for module, state in found.items():
        module.load_state_dict(state, assign=True)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    if not (folder / "model.safetensors").is_file():
        raise BaseModelError(f"{folder} holds no safetensors weights")
    return [folder / "model.safetensors"]


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
    """What enters layer f of `base` (for f = all its layers: what leaves the last, before the norm), [T, H] for each f."""
    decoder = base.get_decoder()
    modules = [] if isinstance(decoder, Int8Decoder) else tree_attention.attending(decoder)
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
