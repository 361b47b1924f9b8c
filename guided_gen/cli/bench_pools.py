"""`guided-gen bench replay` and `bench fit-early-stop`: policies that stop, prune or rerank, on stored independent samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..valuemodel.made_for import ValueModelError
from .bench import show_report
from .options import (
    AUTO,
    CONTEXT,
    FOLDER,
    NONE,
    OUT_FOLDER,
    cache_option,
    check_options,
    check_scorers,
    generator_option,
    reader_option,
    source_option,
    untouched_option,
)

if TYPE_CHECKING:
    from ..engine.tree import Tree


@click.command(context_settings=CONTEXT)
@click.argument("pool", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--policies",
    default="best-of-n,speculative-rejection",
    help="Separated by commas; settings follow a colon: early-stop:threshold=0.2,slack=0.3.",
)
@click.option(
    "--scorers", default="logprob", help="Each guides and ranks: value, logprob, self-certainty, length, reader, log-ratio."
)
@click.option(
    "--value",
    default=AUTO,
    help="A value model's folder, which scores the pool first, beside the results; auto: the one that comes with guided-gen for "
    "the pool's generator, where values are asked for; none.",
)
@reader_option
@click.option("--n", default=16, help="Candidates of a search.")
@click.option("--best-of", default="1,2,4,8", help="Also best-of-n with so many, for its curve of pass@1 against cost.")
@click.option("--resamples", type=click.IntRange(1), default=100, help="Searches a problem, each of n samples of its pool.")
@check_options
@click.option("--limit", type=click.IntRange(1), default=None, help="Only so many problems.")
@click.option("--seed", default=0)
@click.option("--out", required=True, type=OUT_FOLDER, help="Results and report; the same command goes on where it stopped.")
@generator_option
@cache_option
@source_option
@untouched_option
def replay(pool: tuple[Path, ...], **options: Any) -> None:
    """Replay policies on POOL: datasets of `guided-gen build --independent N`, N at least --n.

    Exact, and without decoding: a policy that stops, prunes or reranks only cuts what independent samples would have been.
    """
    from ..benchmarks.arms import arms_named, check_guides, split_scorers
    from ..benchmarks.replay import ReplaySettings, first_tree, replay_pools
    from ..benchmarks.results import REPLAYS, VALUES, LineFile, pool_identity, value_identity
    from ..data_builder.dataset import ProblemTexts, common_settings
    from ..engine.scorers import scorer_named
    from ..value_data import pool_trees, problems_of

    scorers, built = {name: scorer_named(name) for name in split_scorers(options["scorers"])}, common_settings(pool)
    value = _value(options, built)
    check_scorers(scorers, value is not None, options["reader"] is not None)
    arms = arms_named(options["policies"], options["n"], options["best_of"], value, options["check_every"])
    check_guides(arms, list(scorers))
    settings = ReplaySettings(**{name: options[name] for name in ("check_every", "budget", "resamples", "seed")})
    allowed = options["allow_untouched"]
    problems = problems_of(pool, options["problems"], allowed)
    texts = ProblemTexts(built, problems, allowed)
    shared = ("model", "cache", "reader")
    data = {name: options[name] for name in shared} | {"problems": problems, "allow_untouched": allowed}

    def trees() -> Iterator[Tree]:
        return pool_trees(pool, value, options["out"] / VALUES, **data)

    identity = pool_identity(built, first_tree(trees())) | value_identity(value)
    run = {"kind": "replay", "reader": options["reader"]} | identity | vars(settings)
    path = options["out"] / REPLAYS
    with LineFile(path, run) as written:
        replay_pools(trees, texts, arms, scorers, settings, written, options["limit"])
    show_report([path], options["out"], options["seed"])


def _value(options: dict[str, Any], built: dict[str, Any]) -> Path | None:
    """The folder of the value model that is named; where that is left to us, only if a scorer or a policy takes one."""
    from ..benchmarks.arms import split_policies
    from ..known_values import value_made_for
    from ..valuemodel.early_stop import parsed_policy

    if options["value"] not in (AUTO, NONE):
        return Path(options["value"])
    asked = "value" in options["scorers"] or any(parsed_policy(name)[1] for name in split_policies(options["policies"]))
    found = value_made_for(built) if asked and options["value"] == AUTO else None
    if found is not None:
        click.echo(f"Values: {found.name}", err=True)
    return found


@click.command(context_settings=CONTEXT)
@click.argument("pool", nargs=-1, required=True, type=FOLDER)
@click.option("--value", required=True, type=FOLDER, help="The value model's folder, into which the curves are written.")
@click.option("--lost", default="0.03,0.05,0.1", help="Shares of the correct answers that may be lost; a curve for each.")
@click.option("--check-every", type=click.IntRange(1), default=16, help="Tokens between checks; curves serve multiples too.")
@click.option("--seed", default=0, help="Of the folds.")
@generator_option
@cache_option
@source_option
def fit_early_stop(pool: tuple[Path, ...], value: Path, lost: str, check_every: int, seed: int, **options: Any) -> None:
    """Fit early stop on POOL: datasets of `guided-gen build --independent N` of problems that the value model was not trained on.

    Afterwards `--policy early-stop:lost=0.05` stops candidates below the curve of 0.05, wherever this value model is named.
    """
    from ..value_data import check_reads_states, load_scored, problems_of
    from ..valuemodel.early_stop import save_curves
    from ..valuemodel.early_stop_fit import TracedRollouts
    from ..valuemodel.early_stop_fit import fit_early_stop as fit

    try:
        shares = [float(share) for share in lost.split(",") if share.strip()]
    except ValueError:
        raise ValueModelError(f"shares are written like 0.02,0.05, not {lost!r}") from None
    check_reads_states(value)
    data = load_scored(
        value, pool, model=options["model"], problems=problems_of(pool, options["problems"]), cache=options["cache"]
    )
    figures = fit(TracedRollouts.of([one.tree for one in data.scored.trees], check_every), shares, seed)
    path = save_curves(value, {"pool": [folder.name for folder in pool], **figures})
    _print_curves(figures)
    click.echo(path)


def _print_curves(figures: dict[str, Any]) -> None:
    from .tables import print_table

    title = (
        f"Early stop, on problems that each curve was not fitted to: {figures['problems']} problems, "
        f"{figures['problems_with_correct']} with correct answers, {figures['rollouts']} rollouts"
    )
    names = ("correct_lost", "problems_lost", "wrong_stopped", "tokens_saved")
    columns = ("may be lost", "correct lost", "problems losing all correct", "wrong stopped", "tokens saved")
    shares = [[curve["lost"], *(curve["cross_validated"][name] for name in names)] for curve in figures["curves"]]
    print_table(title, columns, [[f"{share:.1%}" for share in row] for row in shares], words=0)
