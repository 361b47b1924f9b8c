"""`guided-gen evaluate`: how good a value model's values are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from .options import CONTEXT, FOLDER, OUT_FOLDER, cache_option, source_option, untouched_option


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
    resamples: int,
    best_of: int,
    seed: int,
    cache: Path | None,
    problems: str | None,
    allow_untouched: bool,
) -> None:
    """Evaluate a value model and every shortcut on DATA; writes evaluation.json, plots and report.html to OUT."""
    from rich.console import Console

    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..value_data import answer_reader, asks_generator, load_scored, problems_of
    from ..valuemodel.data_checks import check_trees
    from ..valuemodel.evaluation import evaluate
    from ..valuemodel.fitting import load_statement
    from ..valuemodel.plots import plot_all
    from ..valuemodel.report import html_page, print_report
    from ..valuemodel.rollout_table import rollout_table

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
    settings = known.scored.model.settings
    made_for, ask = settings.made_for, None
    if p_true:
        precision = "auto" if made_for.generator_sha256 else made_for.precision
        ask = asks_generator(known.generator, precision, made_for.template, data, found, allow_untouched)
    table = rollout_table(known.scored, statement, answer_reader(load_tokenizer(known.base)), ask)
    figures = evaluate(table, settings.training["calibration"]["base_rate"], seed, resamples, best_of)
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n")
    about = {"value model": value.name, "data": ", ".join(folder.name for folder in data), **asdict(made_for)}
    (out / "report.html").write_text(html_page(figures, plot_all(figures, out), about), encoding="utf-8")
    print_report(figures, Console())
    click.echo(out / "report.html", err=True)
