"""`guided-gen values`: which value models are at hand, where one is, and away with one."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, locate and remove value models."""


@command.command("list")
def list_command() -> None:
    """List the value models that --value auto chooses from: for which model, precision and prompts, and where they are."""
    from ..known_values import known_values

    for one in known_values():
        made = one.made_for
        whence = "installed by guided-gen adapt" if one.installed else "comes with guided-gen"
        click.echo(f"{one.folder.name}\n  {made.model}, {made.precision}, prompts {made.template}; {whence}\n  {one.folder}")


@command.command("path")
@click.argument("name")
def path_command(name: str) -> None:
    """Print the folder of the value model NAME."""
    from ..known_values import value_named

    click.echo(value_named(name).folder)


@command.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Delete the value model NAME, which guided-gen adapt installed."""
    from ..known_values import remove

    click.echo(f"Removed {remove(name)}", err=True)
