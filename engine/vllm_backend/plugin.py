"""What vLLM loads in each of its processes (entry point `vllm.general_plugins`): the names of our model classes."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal

OURS = "GUIDED_GEN_VLLM"
"""In the environment of the engines that this backend starts, and not of others that load this plugin."""

FORKED = ("Qwen2ForCausalLM", "Qwen3ForCausalLM", "LlamaForCausalLM", "Phi3ForCausalLM")
"""Architectures that can carry a value tail."""


def forked_name(architecture: str) -> str:
    return f"GuidedGen{architecture}"


def register() -> None:
    from vllm import ModelRegistry

    if OURS in os.environ:
        _end_with_parent()

    for architecture in FORKED:
        name = forked_name(architecture)
        ModelRegistry.register_model(name, f"guided_gen.engine.vllm_backend.forked:{name}")


def _end_with_parent() -> None:
    """vLLM's engine process otherwise outlives a program that is killed. prctl(2), PR_SET_PDEATHSIG."""
    parent = multiprocessing.parent_process()
    if parent is None:  # the program itself, or a worker of Ray
        return
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent.pid:  # it has died already
        os.kill(os.getpid(), signal.SIGKILL)
