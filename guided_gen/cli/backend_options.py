"""The options of commands that decode: which backend, and vLLM's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..engine.errors import GuidedGenError
from ..engine.vllm_backend.settings import VllmSettings

Command = TypeVar("Command", bound=Callable[..., Any])


def backend_options(command: Command) -> Command:
    """Add --backend and --vllm."""
    command = click.option(
        "--vllm", multiple=True, metavar="NAME=VALUE", help="A setting of vLLM, such as tensor_parallel_size=2; see docs/vllm.md."
    )(command)
    return click.option("--backend", type=click.Choice(["torch", "vllm"]), default="torch", help="What decodes.")(command)


def vllm_settings(options: dict[str, Any]) -> VllmSettings | None:
    """The settings of --vllm; None with another backend. Raises GuidedGenError for what is no setting."""
    if options["backend"] != "vllm":
        if options["vllm"]:
            raise GuidedGenError("--vllm belongs to --backend vllm")
        return None
    return VllmSettings.parse(options["vllm"])
