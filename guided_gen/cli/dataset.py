"""`guided-gen dataset`: what is in a dataset that `guided-gen build` made, and what running its programs tells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CONTEXT, FOLDER, generator_option, source_option, untouched_option

if TYPE_CHECKING:
    from ..data_builder.dataset_statistics import DatasetStatistics


@click.group(context_settings=CONTEXT)
def command() -> None:
    """Look into a dataset, or run its programs."""


@command.command("stats")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@source_option
@untouched_option
@click.option("--test-share", default=0.1, help="Share of the problems in the test split.")
@click.option("--seed", default=0, help="Of the split and of the oversampling.")
@click.option("--plot", type=click.Path(path_type=Path, dir_okay=False), help="Write a PNG of where the forks lie.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def stats_command(
    folders: Sequence[Path],
    problems: str | None,
    allow_untouched: bool,
    test_share: float,
    seed: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Count what is in FOLDERS: samples and classes, formats, difficulties, duplicates, fork positions, tokens."""
    from ..data_builder.dataset import common_settings
    from ..data_builder.dataset_statistics import dataset_statistics, plot_fork_positions
    from ..data_builder.problems.loaders import load_problems

    loaded = None
    if problems is not None:
        loaded = load_problems(problems, common_settings(folders)["split"], allow_untouched=allow_untouched)
    found = dataset_statistics(folders, loaded, test_share=test_share, seed=seed, allow_untouched=allow_untouched)
    if plot is not None:
        plot_fork_positions(found, plot)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    else:
        _print(found)


@command.command("execute")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@source_option
@untouched_option
@generator_option
@click.option("--workers", type=click.IntRange(min=1), default=2, help="Programs at a time.")
def execute_command(
    folders: Sequence[Path], problems: str | None, allow_untouched: bool, model: str | None, workers: int
) -> None:
    """Run the independent rollouts of FOLDERS on public inputs, and store in each what came of it: executions.parquet.

    Public inputs are the examples that statements print, inputs made from them and calls that the programs themselves make; the
    tests are not used.
    The same command goes on where it stopped, and runs only what is new.
    """
    from ..data_builder.dataset import ProblemTexts
    from ..data_builder.stored_executions import NAME, store_executions
    from ..data_builder.tree_folder import read_settings
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..value_data import base_folder, problems_of

    for folder in folders:
        settings = read_settings(folder)
        texts = ProblemTexts(settings, problems_of([folder], problems, allow_untouched), allow_untouched)
        store_executions(folder, texts, load_tokenizer(base_folder([folder], model)), workers)
        click.echo(folder / NAME)


def _print(found: DatasetStatistics) -> None:
    from .tables import print_table

    def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        print_table(title, columns, [[str(cell) for cell in row] for row in rows])

    table("Problems", ("", "problems"), [*found.problems.items(), *((f"skipped: {why}", n) for why, n in found.skipped.items())])
    samples = [
        (name, row.problems, row.rollouts, _percent(row.correct, row.rollouts), f"{row.tokens / max(row.rollouts, 1):.0f}")
        for name, row in sorted(found.samples.items(), key=lambda item: item[0].split()[::-1], reverse=True)
    ]
    table("Samples", ("split", "problems", "rollouts", "correct", "mean tokens"), samples)
    table("Formats", ("", "train", "test"), _by_split(found.formats))
    table("Difficulties", ("", "train", "test"), _by_split(found.difficulties))
    kinds = [
        (kind, drawn, *(_percent(n, drawn) for n in (found.correct[kind], drawn - found.distinct[kind], found.cut[kind])))
        for kind, drawn in found.drawn.items()
    ]
    table("Rollouts", ("kind", "drawn", "correct", "duplicates", "cut at the limit"), kinds)
    table("Share of correct rollouts", ("tenth", "problems", ""), _histogram(found.correct_shares))
    if sum(found.fork_positions):
        table("Forks in the trunk", ("tenth", "forks", ""), _histogram(found.fork_positions))
    decoded = [(name, count) for name, count in found.tokens.items() if name != "full rollouts"]
    table("Tokens decoded", ("for", "tokens"), decoded)
    if found.token_ratio is not None:
        click.echo(
            f"Trunks and branches took {found.token_ratio:.2f} of the {found.tokens['full rollouts']} tokens that the same "
            "rollouts have from the prompt on."
        )
    click.echo(f"{found.nodes} nodes in {found.bytes} bytes: {found.bytes / max(found.nodes, 1):.1f} a node.")


def _by_split(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, int, int]]:
    names = sorted({name for split in counts.values() for name in split})
    return [(name, *(counts[split].get(name, 0) if split in counts else 0 for split in ("train", "test"))) for name in names]  # type: ignore[misc]


def _histogram(counts: Sequence[int]) -> list[tuple[str, int, str]]:
    longest = max(counts) or 1
    return [(f"{i / len(counts):.1f}", count, "█" * round(30 * count / longest)) for i, count in enumerate(counts)]


def _percent(part: int, whole: int) -> str:
    return f"{part / max(whole, 1):.1%}"
