"""What vLLM loads in each of its processes (entry point `vllm.general_plugins`): the names of our model classes."""

from __future__ import annotations

FORKED = ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM", "Phi3ForCausalLM")
"""Architectures that can carry a value tail."""


def forked_name(architecture: str) -> str:
    return f"GuidedGen{architecture}"


def register() -> None:
    from vllm import ModelRegistry

    for architecture in FORKED:
        name = forked_name(architecture)
        ModelRegistry.register_model(name, f"guided_gen.engine.vllm_forked:{name}")
