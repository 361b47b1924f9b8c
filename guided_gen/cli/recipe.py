"""`guided-gen recipe`: run a recipe's commands, one after the other, or say what they would cost."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything, print the commands, and what they need on the planned machine.")
@click.option("--from-step", type=click.IntRange(1), default=1, show_default=True, help="Begin with this step, counted from 1.")
def command(file: Path, dry_run: bool, from_step: int) -> None:
    """Run the commands of FILE. They go on where they stopped, so the same call does too."""
    from ..recipes import check_steps, load_recipe
    from . import cli

    recipe = load_recipe(file)
    check_steps(recipe, cli)
    if recipe.about:
        click.echo(recipe.about.strip(), err=True)
    for number, step in enumerate(recipe.steps, 1):
        click.echo(f"{number}  guided-gen {' '.join(step.arguments())}", err=not dry_run)
        if not dry_run and number >= from_step:
            cli.main(step.arguments(), prog_name="guided-gen", standalone_mode=False)
    if dry_run and recipe.plan:
        _print_estimates([(step.name, step.options) for step in recipe.steps], recipe.plan)


def _print_estimates(steps: list[tuple[str, dict[str, object]]], plan: dict[str, object]) -> None:
    from ..benchmarks.cost_estimates import estimates
    from .tables import print_table

    rows = []
    for one in estimates(steps, plan):
        gigabytes = f"{one.gigabytes:.1f}" + ("" if one.fits else ", too many")
        told, disk = f"{one.steps:,}" if one.steps else "", f"{one.disk_gb:.1f}" if one.disk_gb else ""
        rows.append([one.step, f"{one.tokens:,}", told, gigabytes, disk, f"{one.device_hours:.2f}"])
    columns = ("step", "tokens", "steps", "GB a device", "GB on disk", "device hours")
    print_table("Estimate for the planned machine", columns, rows)
