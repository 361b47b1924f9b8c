"""The options of commands that search: which value model, and what candidates are compared by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..engine.errors import GuidedGenError

Command = TypeVar("Command", bound=Callable[..., Any])
AUTO, _NONE = "auto", "none"


def value_options(command: Command) -> Command:
    """Add --value, --value-base and --scorer."""
    command = click.option(
        "--scorer",
        default=None,
        help="What candidates are compared by: value, logprob, self-certainty or length.  [default: value; logprob without a "
        "value model]",
    )(command)
    command = click.option(
        "--value-base", default=None, help="For a value model that reads text: where its base is, if not where it says."
    )(command)
    return click.option(
        "--value",
        default=AUTO,
        help="A value model's folder (see guided-gen train); auto: the one that comes with guided-gen for this generator; none.",
    )(command)


def check_names(options: dict[str, Any]) -> None:
    """Raise GuidedGenError where --policy or --scorer names nothing, before the model is looked for."""
    from ..engine.scorers import scorer_named
    from ..valuemodel.early_stop import parsed_policy

    parsed_policy(options["policy"])
    if options["scorer"] is not None:
        scorer_named(options["scorer"])


def chosen_value(options: dict[str, Any], model: str) -> str | None:
    """The folder of the value model for the generator `model`, or None; says which where that was left to us."""
    value: str = options["value"]
    if value == _NONE:
        return None
    if value != AUTO:
        return value
    from ..shipped_values import shipped_value

    found = shipped_value(model, options["precision"], options["backend"])
    if found is None:
        click.echo("No value model comes with guided-gen for this generator and precision", err=True)
        return None
    click.echo(f"Values: {found.name}", err=True)
    return str(found)


def chosen_scorer(options: dict[str, Any], value: str | None) -> str:
    """The name of the scorer that is asked for, or the best there is. Raises GuidedGenError for values without a value model."""
    if options["scorer"] == "value" and value is None:
        raise GuidedGenError("the scorer value needs a value model: name its folder with --value")
    scorer: str = options["scorer"] or ("logprob" if value is None else "value")
    return scorer
