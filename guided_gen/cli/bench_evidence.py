"""`guided-gen bench evidence`, `fit-evidence` and `adaptive`: what running candidates tells, what weighs it, what it saves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import SettingsError
from .options import (
    CONTEXT,
    FOLDER,
    OUT_FOLDER,
    check_options,
    generator_option,
    group,
    reader_option,
    source_option,
    untouched_option,
)

if TYPE_CHECKING:
    from ..benchmarks.evidence_pools import EvidencePool

FITTED_N = 10  # candidates that the second step has at a time
_pool_options = group(
    click.argument("pool", nargs=-1, required=True, type=FOLDER),
    click.option("--data", required=True, multiple=True, type=FOLDER, help="What the first step is fitted to."),
    click.option("--calibrate", multiple=True, type=FOLDER, help="What the second is.  [default: the other folds of POOL]"),
    click.option("--value", type=FOLDER, default=None, help="A value model's folder."),
    reader_option,
    click.option("--seed", default=0),
    generator_option,
    source_option,
    untouched_option,
)


@click.command(context_settings=CONTEXT)
@click.argument("data", nargs=-1, required=True, type=FOLDER)
@click.option("--calibrate", required=True, multiple=True, type=FOLDER, help="Independent rollouts of other problems.")
@click.option("--value", type=FOLDER, default=None, help="The value model whose values are evidence, too.")
@reader_option
@click.option("--n", default=10, help="Candidates that the second step has at a time.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The evidence model, as JSON.")
@generator_option
@source_option
def fit_evidence(data: tuple[Path, ...], calibrate: tuple[Path, ...], value: Path | None, **options: Any) -> None:
    """Fit the probability that a finished candidate is correct to DATA, datasets with executions (guided-gen dataset execute).

    How far to trust it, and a value model's values, is learnt on the problems of --calibrate.
    """
    from ..benchmarks.evidence import calibration_curve
    from ..evidence_data import fitted_model, generator_of
    from ..valuemodel.made_for import value_sha256

    training = _pools(data, None, None, options)
    pools = _pools(calibrate, value, options["reader"], options)
    columns = _columns(value, options["reader"])
    about: dict[str, Any] = {"data": _named(data), "calibrated_on": _named(calibrate)}
    if value is not None:
        about |= {"generator": generator_of(calibrate), "value_sha256": value_sha256(value)}
    if options["reader"] is not None:
        about |= {"generator": generator_of(calibrate)}
    about["calibration"] = calibration_curve(training, pools, columns, options["n"])
    fitted_model(training, pools, columns, options["n"], about).save(options["out"])
    click.echo(options["out"])


@click.command(context_settings=CONTEXT)
@_pool_options
@click.option("--n", default=10, help="Candidates that are ranked.")
@click.option("--resamples", type=click.IntRange(1), default=100, help="Draws of n samples a problem.")
@click.option("--out", required=True, type=OUT_FOLDER, help="Where evidence.{json,md} go.")
def evidence(
    pool: tuple[Path, ...], data: tuple[Path, ...], calibrate: tuple[Path, ...], value: Path | None, out: Path, **options: Any
) -> None:
    """Say what each kind of evidence adds on POOL: datasets of independent rollouts with executions.

    Nothing is decoded and no program is run.
    """
    from ..benchmarks.evidence import evidence_figures
    from ..benchmarks.evidence_text import evidence_markdown

    columns = _columns(value, options["reader"])
    training = [one.labelled() for one in _pools(data, None, None, options)]
    calibration = _pools(calibrate, value, options["reader"], options) if calibrate else None
    pools = _pools(pool, value, options["reader"], options)
    figures = evidence_figures(pools, training, calibration, columns, options["n"], options["resamples"], options["seed"])
    _write(out, "evidence", figures, evidence_markdown(figures))


@click.command(context_settings=CONTEXT)
@_pool_options
@click.option("--n", default=4, help="Candidates begun together.")
@click.option("--most", default=16, help="Candidates of a search.")
@click.option("--enough", default=0.9, help="How likely to be correct a candidate has to be for the search to end.")
@click.option("--budgets", default="600,800,1100,1500", help="Tokens of a search; an arm each.")
@click.option("--policies", default="best-of-n", help="Separated by commas, as for bench replay; an arm each.")
@click.option("--resamples", type=click.IntRange(1), default=5, help="Orders of a pool's samples.")
@check_options
@click.option("--out", required=True, type=OUT_FOLDER, help="Where adaptive.{json,md} go.")
def adaptive(
    pool: tuple[Path, ...], data: tuple[Path, ...], calibrate: tuple[Path, ...], value: Path | None, out: Path, **options: Any
) -> None:
    """Replay searches that end once a candidate is likely enough on POOL: independent rollouts with executions.

    Each begins fresh candidates up to --most, as far as its budget goes. Nothing is decoded and no program is run.
    """
    from ..benchmarks.adaptive import Rule, adaptive_figures, adaptive_markdown
    from ..benchmarks.arms import split_policies
    from ..benchmarks.replay import ReplaySettings
    from ..engine.scorers import mean_logprob
    from ..engine.scorers import value as value_scorer
    from ..evidence_data import adaptive_problems
    from ..valuemodel.early_stop import chosen_policy

    settings = ReplaySettings(check_every=options["check_every"], resamples=options["resamples"], seed=options["seed"])
    rules = [
        Rule(name, options["n"], options["most"], options["enough"], budget, policy)
        for name in split_policies(options["policies"])
        for policy in [chosen_policy(name, ["value" if value else "logprob"], value, settings.check_every)]
        for budget in _numbers(options["budgets"])
    ]
    training = _pools(data, None, None, options)
    calibration = _pools(calibrate, value, options["reader"], options) if calibrate else None
    names = _columns(value, options["reader"])
    found = _of_data(pool, options) | {"reader": options["reader"]}
    problems = adaptive_problems(pool, training, calibration, names, FITTED_N, value, **found)
    scorer = mean_logprob if value is None else value_scorer
    curve = [number for number in (1, 2, 4, 8) if number < options["most"]]
    figures = adaptive_figures(problems, rules, scorer, settings, [*curve, options["most"]])
    _write(out, "adaptive", figures, adaptive_markdown(figures))


def _named(folders: tuple[Path, ...]) -> list[str]:
    """Datasets by the last two parts of their paths: data/reference/train is reference/train."""
    return ["/".join(folder.resolve().parts[-2:]) for folder in folders]


def _numbers(text: str) -> list[int | None]:
    """From "600,800"; None, no budget, where there are none. Raises SettingsError."""
    try:
        return [int(number) for number in text.split(",") if number.strip()] or [None]
    except ValueError:
        raise SettingsError(f"budgets are written like 600,800, not {text!r}") from None


def _columns(value: Path | None, reader: str | None) -> list[str]:
    from ..valuemodel.evidence import COLUMNS, NEED_VALUES, READER_COLUMNS

    missing = [*(NEED_VALUES if value is None else ()), *(READER_COLUMNS if reader is None else ())]
    return [name for name in COLUMNS if name not in missing]


def _write(out: Path, name: str, figures: dict[str, Any], text: str) -> None:
    from ..engine.files import write_atomically

    out.mkdir(parents=True, exist_ok=True)
    for ending, content in {"json": json.dumps(figures, indent=1) + "\n", "md": text}.items():
        write_atomically(out / f"{name}.{ending}", content)
    click.echo(text)


def _pools(folders: tuple[Path, ...], value: Path | None, reader: str | None, options: dict[str, Any]) -> list[EvidencePool]:
    from ..evidence_data import load_pools

    return load_pools(folders, value, reader=reader, **_of_data(folders, options))


def _of_data(folders: tuple[Path, ...], options: dict[str, Any]) -> dict[str, Any]:
    from ..value_data import problems_of

    allowed = options.get("allow_untouched", False)
    problems = problems_of(folders, options["problems"], allowed)
    return {"model": options["model"], "problems": problems, "allow_untouched": allowed}
