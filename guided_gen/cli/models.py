"""`guided-gen models`: which models are there, fetch one, say where it is."""

from __future__ import annotations

import click

from ..engine.models.files import ModelEntry, list_models, resolve_model
from ..engine.models.known import DEFAULT_MODEL

NAME_HELP = f"""NAME is a folder, a GGUF file, a hub id (owner/name) or a known model; {DEFAULT_MODEL} when left out."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, fetch and locate models."""


@command.command("list")
def list_command() -> None:
    """List the known models: size on disk, memory needed, licence, value model, path; and what in the cache can be deleted."""
    for entry in list_models():
        click.echo(_unused(entry) if entry.unused else _known(entry))


def _known(entry: ModelEntry) -> str:
    from ..known_values import value_for_weights

    model = entry.model
    assert model is not None
    default = " (default)" if entry.name == DEFAULT_MODEL else ""
    value = value_for_weights(model.sha256)
    facts = [
        f"{model.n_bytes / 1e9:.1f} GB on disk",
        f"{model.memory_bytes / 1e9:.1f} GB of memory",
        model.licence,
    ]
    valued = f"value model {value.name}" if value else "no value model"
    where = entry.path or f"not fetched: guided-gen models pull {entry.name}"
    return f"{entry.name}{default}\n  {model.model_id}, Q4_K_M\n  {', '.join(facts)}\n  {valued}\n  {where}"


def _unused(entry: ModelEntry) -> str:
    return f"{entry.name}\n  {entry.n_bytes / 1e9:.1f} GB that an earlier version converted, no longer used: delete {entry.path}"


@command.command("pull", epilog=NAME_HELP)
@click.argument("name", default=DEFAULT_MODEL)
def pull_command(name: str) -> None:
    """Fetch a model; does nothing when it is there."""
    click.echo(f"{name} is ready in {resolve_model(name)}")


@command.command("path", epilog=NAME_HELP)
@click.argument("name", default=DEFAULT_MODEL)
def path_command(name: str) -> None:
    """Print where the model's file or folder is."""
    click.echo(resolve_model(name, fetch=False))
