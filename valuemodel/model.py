"""The value model: a tail that forks off a base model's lower layers, with what it was made for, and its folder on disk.

    base.layers[: fork_layer], shared and frozen -> tail_layers layers of its own -> norm -> head -> sigmoid

`fork_layer` 0 with all layers is a separate model, L - 2 with 2 the paper's choice, and any layer with no tail layers a probe.
A folder holds `config.json` and `model.safetensors` (the tail, or its LoRA adapters, and the head); adapters need the base.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..engine.files import replaced_atomically, write_atomically
from ..engine.models.float_models import model_config
from ..engine.tail import Tail
from .base_layers import Blocks, copied_blocks, empty_blocks, layer_count, run_layers, stored_config
from .heads import HeadSettings, ValueHead
from .hub import upload
from .made_for import (
    CONFIG,
    FORMAT_VERSION,
    WEIGHTS,
    MadeFor,
    ValueModelError,
    local_folder,
    made_for,
    read_config,
)
from .packing import Pack, path_means


@dataclass(frozen=True)
class ValueSettings:
    """What a value model is. `lora_rank` 0: the tail is saved whole. `training`: what a reader of the folder wants to know."""

    fork_layer: int
    tail_layers: int
    head: HeadSettings
    made_for: MadeFor = field(default_factory=MadeFor)
    lora_rank: int = 0
    training: dict[str, Any] = field(default_factory=dict)


class ValueModel(nn.Module):
    """A `Tail` with its settings, and the rotary embedding and configuration that its layers need outside the engine."""

    def __init__(self, settings: ValueSettings, blocks: Blocks, head: ValueHead) -> None:
        super().__init__()
        self.settings = settings
        self.folder: Path | None = None  # that it was loaded from
        self.base_config = blocks.config
        self.rotary = blocks.rotary
        self.tail = Tail(settings.fork_layer, blocks.layers, blocks.norm, head)
        if settings.lora_rank:
            add_adapters(self.tail.layers, settings.lora_rank)

    @property
    def head(self) -> ValueHead:
        head = self.tail.head
        assert isinstance(head, ValueHead)
        return head

    @classmethod
    def from_base(
        cls,
        base: Any,
        fork_layer: int,
        head: HeadSettings | None = None,
        tail_layers: int | None = None,
        *,
        lora_rank: int = 0,
        made_for: MadeFor | None = None,
    ) -> ValueModel:
        """A new value model with copies of the layers of `base`: a loaded `*ForCausalLM` in a float type, or its folder (Path).

        `tail_layers` from `fork_layer` on, by default all that are left; 0 makes a probe. Raises ValueModelError where the base
        has no such layers.
        """
        config = model_config(base) if isinstance(base, Path) else base.config
        total = layer_count(config)
        if not 0 <= fork_layer <= total:
            raise ValueModelError(f"the fork layer must be 0 to {total} for this base, not {fork_layer}")
        count = total - fork_layer if tail_layers is None else tail_layers
        if not 0 <= count <= total - fork_layer:
            raise ValueModelError(f"above layer {fork_layer} this base has {total - fork_layer} layers, not {count}")
        if lora_rank and not count:
            raise ValueModelError("a probe has no layers that could hold LoRA adapters")
        head = head or HeadSettings()
        settings = ValueSettings(fork_layer, count, head, made_for or MadeFor(), lora_rank)
        return cls(settings, copied_blocks(base, fork_layer, count), ValueHead(config.hidden_size, head))

    # -- on a pack

    def forward(self, states: torch.Tensor, pack: Pack, mean_logprob: torch.Tensor) -> torch.Tensor:
        """Uncalibrated logits [N] at the generated tokens of a pack.

        states [T, H]: what enters `fork_layer`; mean_logprob [N]: of the path to each generated token.
        """
        emitted = self.head.emit(self.tail_states(states, pack))
        return self.head.raw_logit(emitted, path_means(emitted, pack), mean_logprob)

    def tail_states(self, states: torch.Tensor, pack: Pack) -> torch.Tensor:
        """The states that the head reads, at the generated tokens [N, H]."""
        states = states.to(next(self.tail.norm.parameters()).dtype)
        if len(self.tail.layers):
            states = run_layers(self.tail.layers, self.rotary, states, pack)[0]
        out: torch.Tensor = self.tail.norm(states[pack.rows])
        return out

    @torch.no_grad()
    def values(self, states: torch.Tensor, pack: Pack, mean_logprob: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities [N] that an answer through each generated token ends up correct."""
        scale, shift = self.head.calibration
        return torch.sigmoid(self(states, pack, mean_logprob) * scale + shift)

    def engine_tail(self, dtype: torch.dtype, device: torch.device | str) -> Tail:
        """The tail for the engine: adapters merged, layers in the generator's type, the head in float32. Ends training."""
        merge_adapters(self.tail.layers)
        tail = self.tail.eval().requires_grad_(False).to(device)
        tail.layers.to(dtype)
        tail.norm.to(dtype)
        return tail

    # -- on disk

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the folder; a file of the same name is replaced whole."""
        folder = Path(folder)
        config = {"format": FORMAT_VERSION, **asdict(replace(self.settings, training={}))}
        config |= {"training": self.settings.training, "base_config": self.base_config.to_dict()}
        with replaced_atomically(folder / WEIGHTS) as temporary:
            save_file(self._saved(), temporary)
        write_atomically(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True, default=str) + "\n")

    def _saved(self) -> dict[str, torch.Tensor]:
        state = self.tail.state_dict()
        return {name: state[name].detach().cpu().contiguous() for name in self._saved_names()}

    @staticmethod
    def made_for(folder: str | Path) -> MadeFor:
        """What the value model in `folder` was made for, without loading it."""
        return made_for(local_folder(folder))

    def _saved_names(self) -> list[str]:
        whole = not self.settings.lora_rank
        return [name for name in self.tail.state_dict() if whole or is_adapter(name) or name.startswith(("norm.", "head."))]

    @classmethod
    def from_pretrained(cls, folder: str | Path, base: Any = None) -> ValueModel:
        """Load a folder, or a repository of the Hugging Face hub. `base` (a model or its folder) is needed for LoRA adapters.
        Raises ValueModelError.
        """
        folder = local_folder(folder)
        settings, config = read_settings(folder)
        if settings.lora_rank and base is None:
            raise ValueModelError(f"{folder} holds LoRA adapters: loading it takes the base model too, {settings.made_for.model}")
        if settings.lora_rank:
            blocks = copied_blocks(base, settings.fork_layer, settings.tail_layers)
        else:
            blocks = empty_blocks(config, settings.fork_layer, settings.tail_layers)
        model = cls(settings, blocks, ValueHead(config.hidden_size, settings.head))
        try:
            state = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ValueModelError(f"{folder / WEIGHTS} cannot be read: {error}") from error
        try:
            missing = model.tail.load_state_dict(state, strict=False, assign=True)
        except RuntimeError as error:
            raise ValueModelError(f"{folder / WEIGHTS} does not fit the model that {CONFIG} describes") from error
        if missing.unexpected_keys or set(model._saved_names()) != set(state):
            raise ValueModelError(f"{folder / WEIGHTS} does not hold the weights that {CONFIG} describes")
        model.folder = folder
        return model.eval()

    def push_to_hub(
        self, repo_id: str, *, private: bool | None = None, token: str | None = None, commit_message: str = "Upload value model"
    ) -> str:
        """Upload it to the Hugging Face hub, as transformers does: `from_pretrained(repo_id)` and `--value repo_id` then take it
        from there. Returns the repository's address. Raises ValueModelError.

        A model that was loaded and not changed since takes its card, its evidence model and its early stop along.
        """
        with tempfile.TemporaryDirectory(prefix="guided-gen-value-") as temporary:
            self.save_pretrained(temporary)
            return upload(Path(temporary), self.folder, repo_id, private, token, commit_message)


def read_settings(folder: Path) -> tuple[ValueSettings, Any]:
    """The settings of a saved value model and its base's configuration. Raises ValueModelError for any other folder."""
    raw = read_config(folder)
    settings = ValueSettings(
        fork_layer=raw["fork_layer"],
        tail_layers=raw["tail_layers"],
        head=HeadSettings(tuple(raw["head"]["features"]), raw["head"]["hidden"]),
        made_for=MadeFor(**raw["made_for"]),
        lora_rank=raw["lora_rank"],
        training=raw["training"],
    )
    return settings, stored_config(raw["base_config"], settings.tail_layers)


# -- LoRA adapters on the tail's linear layers, through peft


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
