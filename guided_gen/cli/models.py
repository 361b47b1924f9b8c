"""`guided-gen models`: which models are there, fetch one, say where it is."""

from __future__ import annotations

import click

from ..engine.models.files import list_models, resolve_model
from ..engine.models.sources import DEFAULT_MODEL

NAME_HELP = f"""NAME is a folder, a GGUF file, a hub id (owner/name) or a known model; {DEFAULT_MODEL} when left out."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, fetch and locate models."""


@command.command("list")
def list_command() -> None:
    """List the known models and those converted into the cache: name, size in GB, folder."""
    for entry in list_models():
        default = " (default)" if entry.name == DEFAULT_MODEL else ""
        where = f"{entry.n_bytes / 1e9:.1f} GB  {entry.folder}" if entry.folder else "not fetched: guided-gen models pull"
        click.echo(f"{entry.name}{default}  {where}")


@command.command("pull", epilog=NAME_HELP)
@click.argument("name", default=DEFAULT_MODEL)
def pull_command(name: str) -> None:
    """Fetch a model and convert it where needed; does nothing when it is there."""
    click.echo(f"{name} is ready in {resolve_model(name)}")


@command.command("path", epilog=NAME_HELP)
@click.argument("name", default=DEFAULT_MODEL)
def path_command(name: str) -> None:
    """Print the folder of a model that is on this machine, and nothing else."""
    click.echo(resolve_model(name, fetch=False))
