"""LoRA adapters on a tail's linear layers, through peft: added, told apart from base weights, and merged for decoding.

peft takes seconds to import: it is imported where there are adapters.
"""

from __future__ import annotations

from torch import nn


def add_adapters(layers: nn.Module, rank: int) -> None:
    """Put an adapter of `rank`, scaled by 2, beside every linear layer, and freeze all else in `layers`."""
    from peft import LoraConfig, inject_adapter_in_model

    targets = sorted({name.rsplit(".", 1)[-1] for name, module in layers.named_modules() if isinstance(module, nn.Linear)})
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), layers)
    for name, parameter in layers.named_parameters():
        parameter.requires_grad_(is_adapter(name))


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name belongs to an adapter."""
    return ".lora_" in name


def merge_adapters(layers: nn.ModuleList) -> None:
    """Add every adapter to the weights beside it and take it out."""
    if not len(layers):
        return
    from peft.tuners.lora import LoraLayer

    for module in list(layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())
