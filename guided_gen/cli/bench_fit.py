"""`guided-gen bench fit-early-stop`: thresholds for early stop that lose a chosen share of the correct answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import CONTEXT, FOLDER, cache_option, source_option


@click.command(context_settings=CONTEXT)
@click.argument("pool", nargs=-1, required=True, type=FOLDER)
@click.option("--value", required=True, type=FOLDER, help="The value model's folder, into which the curves are written.")
@click.option("--lost", default="0.03,0.05,0.1", help="Shares of the correct answers that may be lost; a curve for each.")
@click.option("--check-every", type=click.IntRange(1), default=16, help="Tokens between checks; curves serve multiples too.")
@click.option("--seed", default=0, help="Of the folds.")
@click.option("--model", default=None, help="The model that the pool is from.  [default: as the pool says]")
@cache_option
@source_option
def fit_early_stop(pool: tuple[Path, ...], value: Path, lost: str, check_every: int, seed: int, **options: Any) -> None:
    """Fit early stop on POOL: datasets of `guided-gen build --independent N` of problems that the value model was not trained on.

    Afterwards `--policy early-stop:lost=0.05` stops candidates below the curve of 0.05, wherever this value model is named.
    """
    from ..value_data import check_reads_states, load_scored, problems_of
    from ..valuemodel.early_stop import EarlyStopError, save_curves
    from ..valuemodel.early_stop_fit import TracedRollouts
    from ..valuemodel.early_stop_fit import fit_early_stop as fit

    try:
        shares = [float(share) for share in lost.split(",") if share.strip()]
    except ValueError:
        raise EarlyStopError(f"shares are written like 0.02,0.05, not {lost!r}") from None
    check_reads_states(value)
    data = load_scored(
        value, pool, model=options["model"], problems=problems_of(pool, options["problems"]), cache=options["cache"]
    )
    figures = fit(TracedRollouts.of([one.tree for one in data.scored.trees], check_every), shares, seed)
    path = save_curves(value, {"pool": [folder.name for folder in pool], **figures})
    _print(figures)
    click.echo(path)


def _print(figures: dict[str, Any]) -> None:
    from .tables import print_table

    title = (
        f"Early stop, on problems that each curve was not fitted to: {figures['problems']} problems, "
        f"{figures['problems_with_correct']} with correct answers, {figures['rollouts']} rollouts"
    )
    names = ("correct_lost", "problems_lost", "wrong_stopped", "tokens_saved")
    columns = ("may be lost", "correct lost", "problems losing all correct", "wrong stopped", "tokens saved")
    shares = [[curve["lost"], *(curve["cross_validated"][name] for name in names)] for curve in figures["curves"]]
    print_table(title, columns, [[f"{share:.1%}" for share in row] for row in shares], words=0)
