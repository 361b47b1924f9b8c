"""`guided-gen config`: a user's own defaults for the options of `solve` and `serve`, in a TOML file of `name = value` lines."""

from __future__ import annotations

import importlib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..engine.errors import SettingsError
from ..engine.files import replaced_atomically, text_within
from . import completion

COMMANDS = ("solve", "serve")
MOST_BYTES = 1 << 14


def config_file() -> Path:
    """`GUIDED_GEN_CONFIG`, or else guided-gen/config.toml where programs keep their settings."""
    named = os.environ.get("GUIDED_GEN_CONFIG")
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(named) if named else Path(home) / "guided-gen" / "config.toml"


def configured() -> dict[str, Any]:
    """The defaults by name. Raises SettingsError where the file is no TOML."""
    path = config_file()
    try:
        found = tomllib.loads(text_within(path, MOST_BYTES))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read as a configuration file: {error}") from None
    for name, value in found.items():
        if not is_value(value):
            raise SettingsError(f"{path} sets {name!r} to something else than a text, a number, true, false or a list of them")
    return found


def is_value(value: Any) -> bool:
    """Whether it could be an option's: a text, a number below 2^63, true, false, or a list of them."""
    if isinstance(value, list):
        return not any(isinstance(one, list) for one in value) and all(map(is_value, value))
    if isinstance(value, str):
        return re.search("[\ud800-\udfff]", value) is None  # bytes of the command line that are no text
    return isinstance(value, int | float) and abs(value) < 1 << 63


def default_map() -> dict[str, dict[str, Any]]:
    """The defaults as on the command line, in texts: for each command those that it has an option for."""
    found = configured()
    if not found:
        return {}
    lists = {name for name, option in known_options().items() if option.multiple}
    told = {name.replace("-", "_"): value if name in lists else str(value) for name, value in found.items()}
    return dict.fromkeys(COMMANDS, told)


def _settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return completion.matching((name for name, option in known_options().items() if not option.is_flag), incomplete)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Set defaults for the options of solve and serve: guided-gen config set model NAME."""


@command.command("set")
@click.argument("name", shell_complete=_settings)
@click.argument("value")
def set_command(name: str, value: str) -> None:
    """Make VALUE the default of the option --NAME."""
    option = _option(name)
    if option.is_flag:
        raise SettingsError(f"--{name} is a flag and has no default")
    converted = option.type.convert(value, option, None)
    if name in ("policy", "scorer"):
        from .options import check_names

        check_names({"policy": "best-of-n", "scorer": None, name: value})
    default = value if isinstance(converted, Path) else converted
    if not is_value(default):
        raise SettingsError(f"--{name} cannot be {value!r} by default")
    _write(configured() | {name: [default] if option.multiple else default})


@command.command("unset")
@click.argument("name", shell_complete=_settings)
def unset_command(name: str) -> None:
    """Forget the default of the option --NAME."""
    known = configured()
    if name not in known:
        raise SettingsError(f"there is no default for {name}")
    del known[name]
    _write(known)


@command.command("show")
def show_command() -> None:
    """Print the file's path, to stderr, and its lines."""
    click.echo(config_file(), err=True)
    click.echo(_lines(configured()), nl=False)


def known_options() -> dict[str, click.Option]:
    """The options that a default may be set for, and flags, by name."""
    known: dict[str, click.Option] = {}
    for module in COMMANDS:
        command: click.Command = importlib.import_module(f".{module}", __package__).command
        options = [one for one in command.params if isinstance(one, click.Option)]
        known |= {long.removeprefix("--"): one for one in options for long in one.opts if long.startswith("--")}
    return known


def _option(name: str) -> click.Option:
    known = known_options()
    if name not in known:
        raise SettingsError(f"there is no option --{name}; there are {', '.join(known)}")
    return known[name]


def _write(defaults: dict[str, Any]) -> None:
    with replaced_atomically(config_file()) as temporary:
        temporary.write_text(_lines(defaults), encoding="utf-8")


def _lines(defaults: dict[str, Any]) -> str:
    keys = {name: name if re.fullmatch("[A-Za-z0-9_-]+", name) else _literal(name) for name in defaults}
    return "".join(f"{keys[name]} = {_literal(value)}\n" for name, value in defaults.items())


def _literal(value: Any) -> str:
    """Texts, numbers and lists of them are written alike in JSON and in TOML, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
