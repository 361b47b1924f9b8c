"""vLLM models that carry a value tail: the shared layers run once, then both tails, each with its own KV cache.

    hidden states [T, H]  ->  LM head  ->  logits [T, V]            what the tail's head emits at the same tokens, [T, E],
    state entering fork_layer  ->  tail layers -> norm -> emit  ->  stands beside them as columns V ... V + E - 1

vLLM selects the rows that need logits between `forward` and `compute_logits`, and passes one tensor: so what was emitted travels
in it behind the hidden state, as the bits of its float32 numbers. The state that enters `fork_layer` comes through the interface
made for EAGLE-3's draft models. The tail's attention layers register with vLLM like all others: their cache is paged, shared and
found again with the generator's own. `vllm_sampler.py` reads the extra columns and takes them off before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.model_loader.weight_utils import default_weight_loader
from vllm.model_executor.models.llama import LlamaForCausalLM
from vllm.model_executor.models.phi3 import Phi3ForCausalLM
from vllm.model_executor.models.qwen2 import Qwen2ForCausalLM
from vllm.model_executor.models.qwen3 import Qwen3ForCausalLM
from vllm.sequence import IntermediateTensors

from .tail import read_tail

# vLLM's layers hold some of transformers' matrices as one.
_PACKED = {
    "q_proj": ("qkv_proj", "q"),
    "k_proj": ("qkv_proj", "k"),
    "v_proj": ("qkv_proj", "v"),
    "gate_proj": ("gate_up_proj", 0),
    "up_proj": ("gate_up_proj", 1),
}


class ForkedTail(nn.Module):
    """Layers of the generator's own class above its `fork_layer`, a norm, and the head's matrix; `load` reads the weights."""

    def __init__(self, base: Any, vllm_config: Any) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self._file = config.guided_gen_tail
        found = read_tail(self._file)
        self.fork_layer = found.fork_layer
        layer_class = type(base.model.layers[0])
        # Numbered on from the base's, since vLLM knows attention layers by name and number.
        names = [f"tail.layers.{config.num_hidden_layers + i}" for i in range(found.layers)]
        self.layers = nn.ModuleList(_layer(layer_class, vllm_config, name) for name in names)
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.emit = nn.Parameter(found.emit.float(), requires_grad=False)

    @property
    def width(self) -> int:
        return len(self.emit)

    def forward(self, positions: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """states [T, H] that enter `fork_layer` -> [T, E], float32."""
        residual = None
        for layer in self.layers:
            states, residual = layer(positions, states, residual)
        states = self.norm(states) if residual is None else self.norm(states, residual)[0]
        emitted: torch.Tensor = states.float() @ self.emit.T
        return emitted

    def load(self) -> set[str]:
        """Read the tail's own weights; returns the names of the parameters that are set."""
        parameters = dict(self.named_parameters())
        for name, tensor in read_tail(self._file).weights.items():
            module, _, kind = name.rpartition(".")
            path, _, leaf = module.rpartition(".")
            if leaf in _PACKED:
                packed, shard = _PACKED[leaf]
                parameter: Any = parameters[f"{path}.{packed}.{kind}"]
                parameter.weight_loader(parameter, tensor, shard)
            else:
                parameter = parameters[name]
                getattr(parameter, "weight_loader", default_weight_loader)(parameter, tensor)
        return set(parameters)


def _layer(layer_class: Any, vllm_config: Any, name: str) -> nn.Module:
    if issubclass(layer_class, _llama_layer()):
        return layer_class(vllm_config=vllm_config, prefix=name)
    return layer_class(
        config=vllm_config.model_config.hf_config,
        cache_config=vllm_config.cache_config,
        quant_config=vllm_config.quant_config,
        prefix=name,
    )


def _llama_layer() -> Any:
    from vllm.model_executor.models.llama import LlamaDecoderLayer

    return LlamaDecoderLayer


class _Forked:
    """What is added to a `*ForCausalLM` of vLLM."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        super().__init__(vllm_config=vllm_config, prefix=prefix)  # type: ignore[call-arg]
        own: Any = self
        own.tail = ForkedTail(self, vllm_config)
        self._hidden_size = vllm_config.model_config.hf_config.hidden_size
        if own.tail.fork_layer:
            own.set_aux_hidden_state_layers((own.tail.fork_layer,))

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """-> [T, H + bits of E float32 numbers in the model's type]."""
        own: Any = self
        if own.tail.fork_layer:
            hidden, (states,) = own.model(input_ids, positions, intermediate_tensors, inputs_embeds)
        else:
            # Not taken on the way: the first layer works in place on what it is given.
            hidden = own.model(input_ids, positions, intermediate_tensors, inputs_embeds)
            states = inputs_embeds if inputs_embeds is not None else own.embed_input_ids(input_ids)
        emitted = own.tail(positions, states)
        return torch.cat([hidden, emitted.view(hidden.dtype)], dim=-1)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        hidden, bits = hidden_states[:, : self._hidden_size], hidden_states[:, self._hidden_size :]
        logits = super().compute_logits(hidden.contiguous())  # type: ignore[misc]
        if logits is None:  # on all but the first rank of a tensor-parallel group
            return None
        return torch.cat([logits.float(), bits.contiguous().view(torch.float32)], dim=-1)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        own: Any = self
        loaded: set[str] = super().load_weights(weights)  # type: ignore[misc]
        return loaded | {f"tail.{name}" for name in own.tail.load()}


class GuidedGenQwen2ForCausalLM(_Forked, Qwen2ForCausalLM):  # type: ignore[misc,unused-ignore]
    pass


class GuidedGenQwen3ForCausalLM(_Forked, Qwen3ForCausalLM):  # type: ignore[misc,unused-ignore]
    pass


class GuidedGenLlamaForCausalLM(_Forked, LlamaForCausalLM):  # type: ignore[misc,unused-ignore]
    pass


class GuidedGenPhi3ForCausalLM(_Forked, Phi3ForCausalLM):  # type: ignore[misc,unused-ignore]
    pass
