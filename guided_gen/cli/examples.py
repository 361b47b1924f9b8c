"""`guided-gen examples`: what is read in a statement, and so what candidates would be run on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from . import completion
from .solve import read_statement

if TYPE_CHECKING:
    from ..data_builder.problems.examples import Example


@click.command()
@click.argument("problem", shell_complete=completion.files)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the entry point and the examples.")
def command(problem: str, as_json: bool) -> None:
    """Show the examples that are read in PROBLEM: a text file, - for standard input, or the statement itself in quotes.

    Candidates are run on these. Each is a call with its result, or an input with its output, and the lines that it stands in.
    """
    from ..data_builder.problems.plain_text import examples_in

    entry_point, examples = examples_in(read_statement(problem))
    if as_json:
        click.echo(json.dumps({"entry_point": entry_point, "examples": [_as_json(one, entry_point) for one in examples]}))
        return
    for one in examples:
        first, last = one.lines
        click.echo(f"{f'line {first}' if first == last else f'lines {first} to {last}'}: {_as_text(one, entry_point)}")
    if not examples:
        click.echo("no examples found")


def _as_text(example: Example, entry_point: str | None) -> str:
    from ..data_builder.problems.problem import StdinTest

    if isinstance(example.test, StdinTest):
        return f"input {example.test.stdin!r}, output {example.test.expected!r}"
    return f"{entry_point}({', '.join(map(repr, example.test.args))}) == {example.test.expected!r}"


def _as_json(example: Example, entry_point: str | None) -> dict[str, Any]:
    """Values as in JSON where they are the same there (a tuple is a list); `call` has them as Python."""
    from ..data_builder.problems.problem import StdinTest

    if isinstance(example.test, StdinTest):
        return {"input": example.test.stdin, "output": example.test.expected, "lines": example.lines}
    arguments, result = map(_plain, (example.test.args, example.test.expected))
    return {"arguments": arguments, "result": result, "call": _as_text(example, entry_point), "lines": example.lines}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, set):
        return sorted((_plain(item) for item in value), key=repr)
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): _plain(item) for key, item in value.items()}
    return repr(value) if isinstance(value, bytes) else value
