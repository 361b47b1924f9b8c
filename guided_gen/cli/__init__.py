"""The command line. Each command lives in a module of its own, loaded only when it is called: `--help` stays fast."""

from __future__ import annotations

import importlib
import os
import sys

import click

from .. import __version__
from ..engine.errors import GuidedGenError

COMMANDS = {
    "adapt": "Make a value model for a model of your own.",
    "bench": "Measure what guidance buys, at equal cost.",
    "build": "Build a forking-token dataset.",
    "config": "Set defaults for options.",
    "dataset": "Look into a dataset, or run its programs.",
    "evaluate": "Evaluate a value model.",
    "examples": "Show the examples that a statement prints.",
    "export": "Write a value model as a stock classifier.",
    "judge": "Run answers on their problems' tests in a sandbox.",
    "models": "List, fetch and locate models.",
    "recipe": "Run the commands of a recipe, or estimate them.",
    "serve": "Serve the search as OpenAI's API, with a page.",
    "solve": "Search for a program that solves a problem.",
    "train": "Train a value model on a dataset.",
    "values": "List, locate and remove value models.",
    "view": "Show a search or a dataset on an HTML page.",
}


class LazyGroup(click.Group):
    """A group whose commands are imported from `guided_gen.cli.<name>` at the first use; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __name__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="guided-gen")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Value-guided decoding: small language models that write correct code more often, for fewer tokens.

    Exit codes: 0 done; 1 an error, told in one sentence; 2 a wrong option; 3 the program printed fails an example; 130
    interrupted.
    """
    from .config import default_map

    ctx.default_map = default_map()


def main() -> None:
    """Run the command line: a user's or the system's error ends in one sentence on stderr and exit code 1, a closed pipe in
    silence. A command may return an exit code of its own.
    """
    try:
        sys.exit(cli(prog_name="guided-gen", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted", err=True)
        sys.exit(130)
    except GuidedGenError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        about = f"{error.filename} cannot be read or written: " if error.filename else ""
        click.echo(f"Error: {about}{error.strerror or error}", err=True)
        sys.exit(1)
