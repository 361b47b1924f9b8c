"""`guided-gen bench`: what guidance buys, at equal cost."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click

from .options import CONTEXT, OUT_FOLDER

COMMANDS = {
    "run": "Generate, judge and report; what `bench` alone does.",
    "generate": "Search for answers to problems with each policy.",
    "judge": "Judge what was generated.",
    "report": "Report on judged searches or replays.",
    "replay": "Replay stop, prune and rerank policies on stored samples.",
    "fit-early-stop": "Fit the threshold of early stop to a value model.",
    "evidence": "Say what running candidates on public inputs adds.",
    "adaptive": "Replay searches that end once a candidate is likely enough.",
    "fit-evidence": "Fit the probability that a finished candidate is correct.",
}
_MODULES = {
    "generate": "bench_run",
    "run": "bench_run",
    "judge": "bench_run",
    "replay": "bench_pools",
    "fit-early-stop": "bench_pools",
    "evidence": "bench_evidence",
    "adaptive": "bench_evidence",
    "fit-evidence": "bench_evidence",
}


class BenchGroup(click.Group):
    """Its commands live in modules of their own; options without a command are those of `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "report":
            return report
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{_MODULES[cmd_name]}", __package__)
        found: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=BenchGroup, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Measure what guidance buys, at equal cost: pass@1 of each policy and ranking beside its tokens and wall time.

    `guided-gen bench --problems ... --out DIR` is `bench run`: it generates, judges and reports, and goes on where it stopped.
    """


@click.command(context_settings=CONTEXT)
@click.argument("results", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=OUT_FOLDER, help="Where report.{json,md,html} and plots go.")
@click.option("--seed", default=0, help="Of the bootstrap.")
def report(results: tuple[Path, ...], out: Path, seed: int) -> None:
    """Report on RESULTS, the folders or JSON lines of `bench judge` or `bench replay`; several are reported together.

    Together they must be of the same model, prompt, judge and data.
    """
    from ..benchmarks.results import JUDGED, REPLAYS, lines_in

    show_report([lines_in(path, JUDGED, REPLAYS) for path in results], out, seed)


def show_report(lines: list[Path], out: Path, seed: int) -> dict[str, Any]:
    """Write the report and print its tables."""
    from ..benchmarks.report_page import write_report
    from ..benchmarks.report_text import WORDS, terminal_tables
    from .tables import print_table

    figures = write_report(lines, out, seed)
    for title, columns, rows, notes in terminal_tables(figures):
        print_table(title, columns, rows, notes, words=WORDS)
    click.echo(out / "report.html", err=True)
    return figures
