"""`guided-gen recipe`: run a recipe's commands, one after the other, or say what they would cost.

A recipe is a YAML file that names the commands, with all their options, by which a result is made.

    about: what comes out of it
    steps:
      - build: {problems: apps, split: train, out: data/train}
      - train: {data: [data/train], out: values}
    plan: {...}        # what a dry run computes with (benchmarks/cost_estimates.py)

A step is a command of guided-gen, its words joined by spaces (`bench replay`), with its options as on the command line; an option
with several values has a list, a flag is true or false, and `arguments` holds what stands without a name. Every command goes on
where it stopped, so a recipe does too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from ..engine.errors import SettingsError
from ..engine.files import text_within
from .config import is_value

MOST_BYTES = 1 << 16


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--dry-run", is_flag=True, help="Check everything, print the commands, and what they need on the planned machine.")
@click.option("--from-step", type=click.IntRange(1), default=1, show_default=True, help="Begin with this step, counted from 1.")
def command(file: Path, dry_run: bool, from_step: int) -> None:
    """Run the commands of FILE. They go on where they stopped, so the same call does too."""
    from . import cli

    recipe = load_recipe(file)
    checked = check_steps(recipe, cli)
    if recipe.about:
        click.echo(recipe.about.strip(), err=True)
    for number, step in enumerate(recipe.steps, 1):
        click.echo(f"{number}  guided-gen {' '.join(step.arguments())}", err=not dry_run)
        if not dry_run and number >= from_step:
            cli.main(step.arguments(), prog_name="guided-gen", standalone_mode=False)
    if dry_run and recipe.plan:
        _print_estimates(checked, recipe.plan)


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


@dataclass(frozen=True)
class Step:
    """A command's words, and its options by their names without dashes."""

    words: tuple[str, ...]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        return " ".join(self.words)

    def arguments(self) -> list[str]:
        """What stands behind `guided-gen` on the command line."""
        named: list[str] = []
        for option, value in self.options.items():
            if option == "arguments" or value is False or value is None:
                continue
            if value is True:
                named.append(f"--{option}")
            else:
                for one in value if isinstance(value, list) else [value]:
                    named += [f"--{option}", str(one)]
        return [*self.words, *named, *(str(one) for one in self.options.get("arguments", []))]


@dataclass(frozen=True)
class Recipe:
    about: str
    steps: tuple[Step, ...]
    plan: dict[str, Any]


def load_recipe(path: Path) -> Recipe:
    """Raises SettingsError with the file's name for anything that is no recipe."""
    try:
        raw = yaml.safe_load(text_within(path, MOST_BYTES))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if (
        not isinstance(raw, dict)
        or not all(isinstance(name, str) for name in raw)
        or not isinstance(raw.get("steps"), list)
        or not raw["steps"]
    ):
        raise SettingsError(f"{path} is no recipe: it has no list of steps")
    unknown = set(raw) - {"about", "steps", "plan"}
    if unknown:
        raise SettingsError(f"{path} has an unknown part {min(unknown)!r}; a recipe has about, steps and plan")
    about = raw.get("about", "")
    if not isinstance(raw.get("plan", {}), dict) or not isinstance(about, str) or not is_value(about):
        raise SettingsError(f"{path} is no recipe: about is a text, and plan has parts with names")
    steps = tuple(_step(one, f"step {number} of {path}") for number, one in enumerate(raw["steps"], 1))
    return Recipe(about, steps, raw.get("plan", {}))


def _step(raw: Any, where: str) -> Step:
    [(words, options)] = raw.items() if isinstance(raw, dict) and len(raw) == 1 else [(None, None)]
    if not isinstance(words, str) or not words.strip() or not isinstance(options, dict):
        raise SettingsError(f"{where} is not one command with its options")
    for name, value in options.items():
        if not isinstance(name, str):
            raise SettingsError(f"{where} has an option whose name is no text")
        if not is_value(value) or (name == "arguments" and not isinstance(value, list)):
            raise SettingsError(f"{where} sets {name!r} to what it cannot be")
    return Step(tuple(words.split()), options)


def check_steps(recipe: Recipe, commands: click.Group) -> list[tuple[str, dict[str, Any]]]:
    """Each step's command, and its options as the command takes them: numbers, not texts.

    Raises SettingsError for a command or an option that does not exist, or a value that an option does not take. Paths need not
    exist yet: they may be what an earlier step makes.
    """
    return [(step.name, _checked_options(step, _command(step, commands))) for step in recipe.steps]


def _checked_options(step: Step, command: click.Command) -> dict[str, Any]:
    known = {name.removeprefix("--"): option for option in command.params for name in [*option.opts, *option.secondary_opts]}
    checked = {}
    for name, value in step.options.items():
        if name != "arguments" and name not in known:
            raise SettingsError(f"{step.name} has no option {name!r}; see guided-gen {step.name} --help")
        checked[name] = value if name == "arguments" else _as_taken(step, name, known[name], value)
    for option in command.params:
        given = any(known.get(name) is option for name in step.options)
        if option.required and not given and isinstance(option, click.Option):
            raise SettingsError(f"{step.name} needs the option {option.opts[0].removeprefix('--')!r}")
    return checked


def _command(step: Step, commands: click.Group) -> click.Command:
    command: click.Command = commands
    for word in step.words:
        found = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if found is None:
            raise SettingsError(f"guided-gen has no command {step.name!r}")
        command = found
    return command


def _as_taken(step: Step, name: str, option: click.Parameter, value: Any) -> Any:
    if isinstance(option, click.Option) and option.is_flag:
        if not isinstance(value, bool):
            raise SettingsError(f"{step.name} takes true or false as {name}, not {value!r}")
        return value
    if isinstance(value, list) and not option.multiple:
        raise SettingsError(f"{step.name} takes one {name}, not {len(value)}")
    if isinstance(option.type, click.Path):
        return value
    taken = []
    for one in value if isinstance(value, list) else [value]:
        try:
            taken.append(option.type.convert(str(one), option, None))
        except click.BadParameter as error:
            raise SettingsError(f"{step.name} does not take {one!r} as {name}: {error.message}") from error
    return taken if isinstance(value, list) else taken[0]
