"""`guided-gen evaluate`: how good a value model's values are."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from .options import CONTEXT, FOLDER, OUT_FOLDER, cache_option, reader_option, source_option, untouched_option


@click.command(context_settings=CONTEXT)
@click.option("--value", required=True, type=FOLDER, help="The value model's folder.")
@click.option("--data", required=True, multiple=True, type=FOLDER, help="A dataset of guided-gen build; may be given again.")
@click.option("--out", required=True, type=OUT_FOLDER, help="Where the report goes.")
@click.option("--model", default=None, help="The value model's base.  [default: as the data, or a text scorer, say]")
@click.option(
    "--generator", default=None, help="For a text scorer: the model that wrote the answers.  [default: as the data say]"
)
@click.option("--tries/--no-tries", default=False, help="Also count main rollouts that did not become the trunk.")
@click.option("--p-true", is_flag=True, help="Also ask the generator about each answer, a shortcut that takes minutes.")
@reader_option
@click.option("--resamples", type=click.IntRange(10), default=1000, help="Of the problems, for the intervals.")
@click.option("--best-of", type=click.IntRange(1), default=10, help="Rank so many rollouts of a problem at a time.")
@click.option("--seed", default=0)
@cache_option
@source_option
@untouched_option
def command(
    value: Path,
    data: tuple[Path, ...],
    out: Path,
    model: str | None,
    generator: str | None,
    tries: bool,
    p_true: bool,
    reader: str | None,
    resamples: int,
    best_of: int,
    seed: int,
    cache: Path | None,
    problems: str | None,
    allow_untouched: bool,
) -> None:
    """Evaluate a value model and every shortcut on DATA; writes evaluation.json, plots, report.md and report.html to OUT."""
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..value_data import answer_reader, asks_generator, load_scored, problems_of
    from ..valuemodel.evaluation import evaluate
    from ..valuemodel.examples import check_trees
    from ..valuemodel.fitting import load_statement
    from ..valuemodel.report import grids, summary, texts, write_evaluation
    from ..valuemodel.rollout_table import rollout_table
    from .tables import print_table

    statement, found = load_statement(value), problems_of(data, problems, allow_untouched)
    known = load_scored(
        value,
        data,
        model=model,
        generator=generator,
        tries=tries,
        problems=found,
        allow_untouched=allow_untouched,
        cache=cache,
    )
    check_trees(known.scored.trees)
    _warn_of_known(value, {one.problem for one in known.scored.trees})
    if reader is not None:
        from ..stored_readings import read_stored

        read_stored(known.scored.trees, known.generator, reader)
    settings = known.scored.model.settings
    made_for, ask = settings.made_for, None
    if p_true:
        precision = "auto" if made_for.generator_sha256 else made_for.precision
        ask = asks_generator(known.generator, precision, made_for.template, data, found, allow_untouched)
    table = rollout_table(known.scored, statement, answer_reader(load_tokenizer(known.base)), ask)
    figures = evaluate(table, settings.training["calibration"]["base_rate"], seed, resamples, best_of)
    about = {"value model": value.name, "reader": reader, "data": ", ".join(folder.name for folder in data), **asdict(made_for)}
    figures = {"about": {name: text for name, text in about.items() if text}, **figures}
    write_evaluation(figures, out)
    click.echo(summary(figures))
    for grid in grids(figures)[:6]:
        print_table(grid.title, ["", *grid.columns], texts(grid))
    click.echo(out / "report.html", err=True)


def _warn_of_known(value: Path, problems: set[str]) -> None:
    """Say where the value model has seen the problems before."""
    from ..valuemodel.card import known_problems

    for kind, ids in known_problems(value).items():
        if shared := problems & ids:
            done = "trained" if kind == "training" else "chosen and calibrated"
            told = f"{done} on {len(shared)} of these {len(problems)} problems, which flatters it"
            click.echo(f"Warning: the value model was {told}", err=True)
