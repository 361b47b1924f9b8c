"""`guided-gen bench evidence` and `fit-evidence`: what running candidates tells, and the model that weighs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CONTEXT, FOLDER, OUT_FOLDER, generator_option, source_option, untouched_option

if TYPE_CHECKING:
    from ..benchmarks.evidence_pools import EvidencePool


@click.command(context_settings=CONTEXT)
@click.argument("data", nargs=-1, required=True, type=FOLDER)
@click.option("--calibrate", required=True, multiple=True, type=FOLDER, help="Independent rollouts of other problems.")
@click.option("--value", type=FOLDER, default=None, help="The value model whose values are evidence, too.")
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
    from ..valuemodel.evidence import COLUMNS, NEED_VALUES
    from ..valuemodel.made_for import value_sha256

    training = _pools(data, None, options)
    pools = _pools(calibrate, value, options)
    columns = COLUMNS if value is not None else [name for name in COLUMNS if name not in NEED_VALUES]
    about: dict[str, Any] = {"data": [folder.name for folder in data], "calibrated_on": [folder.name for folder in calibrate]}
    if value is not None:
        about |= {"generator": generator_of(calibrate), "value_sha256": value_sha256(value)}
    about["calibration"] = calibration_curve(training, pools, columns, options["n"])
    fitted_model(training, pools, columns, options["n"], about).save(options["out"])
    click.echo(options["out"])


@click.command(context_settings=CONTEXT)
@click.argument("pool", nargs=-1, required=True, type=FOLDER)
@click.option("--data", required=True, multiple=True, type=FOLDER, help="What the first step is fitted to.")
@click.option("--calibrate", multiple=True, type=FOLDER, help="What the second is.  [default: the other folds of POOL]")
@click.option("--value", type=FOLDER, default=None, help="A value model's folder.")
@click.option("--n", default=10, help="Candidates that are ranked.")
@click.option("--resamples", type=click.IntRange(1), default=100, help="Draws of n samples a problem.")
@click.option("--seed", default=0)
@click.option("--out", required=True, type=OUT_FOLDER, help="Where evidence.{json,md} go.")
@generator_option
@source_option
@untouched_option
def evidence(
    pool: tuple[Path, ...], data: tuple[Path, ...], calibrate: tuple[Path, ...], value: Path | None, out: Path, **options: Any
) -> None:
    """Say what each kind of evidence adds on POOL: datasets of independent rollouts with executions.

    Nothing is decoded and no program is run.
    """
    from ..benchmarks.evidence import evidence_figures
    from ..benchmarks.evidence_text import evidence_markdown
    from ..engine.files import replaced_atomically
    from ..valuemodel.evidence import COLUMNS, NEED_VALUES

    columns = COLUMNS if value is not None else [name for name in COLUMNS if name not in NEED_VALUES]
    training = [one.labelled() for one in _pools(data, None, options)]
    calibration = _pools(calibrate, value, options) if calibrate else None
    pools = _pools(pool, value, options)
    figures = evidence_figures(pools, training, calibration, columns, options["n"], options["resamples"], options["seed"])
    out.mkdir(parents=True, exist_ok=True)
    texts = {"evidence.json": json.dumps(figures, indent=1) + "\n", "evidence.md": evidence_markdown(figures)}
    for name, text in texts.items():
        with replaced_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    click.echo(texts["evidence.md"])


def _pools(folders: tuple[Path, ...], value: Path | None, options: dict[str, Any]) -> list[EvidencePool]:
    from ..evidence_data import load_pools
    from ..value_data import problems_of

    allowed = options.get("allow_untouched", False)
    problems = problems_of(folders, options["problems"], allowed)
    return load_pools(folders, value, model=options["model"], problems=problems, allow_untouched=allowed)
