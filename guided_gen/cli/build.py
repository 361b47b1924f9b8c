"""`guided-gen build`: a forking-token dataset, or independent rollouts, of a set of problems."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    CONTEXT,
    OUT_FOLDER,
    chosen_problems,
    chosen_sampling,
    judge_options,
    model_options,
    problem_options,
    prompt_options,
    sampling_options,
    vllm_settings,
)

if TYPE_CHECKING:
    from ..data_builder.build_settings import BuildSettings, Shard
    from ..data_builder.builder import BuildProgress
    from ..data_builder.problems.problem import Problem
    from ..engine.models.loaded_model import LoadedModel
    from ..engine.vllm_backend.settings import VllmSettings


@click.command(context_settings=CONTEXT)
@problem_options
@click.option("--only", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A file of problem ids, one a line.")
@click.option("--shard", default="0/1", help="i/n: build only the i-th of n parts, counted from 0.")
@click.option("--out", required=True, type=OUT_FOLDER, help="The dataset's folder; goes on where it stopped.")
@model_options
@prompt_options
@click.option("--independent", default=0, help="Sample so many rollouts of every problem, and fork nothing.")
@click.option("--trunk-tries", default=8, help="Most main rollouts until one is correct.")
@click.option("--tries-at-once", default=4, help="Main rollouts in each go.")
@click.option("--forks", default=6, help="Branch points of the trunk.")
@click.option("--branches", default=6, help="Rollouts from each branch point.")
@click.option("--strategy", default="lowest_prob", help="Where to branch: lowest_prob, entropy, margin or random.")
@click.option("--min-distance", default=1, help="Least distance between branch points, in tokens.")
@sampling_options
@click.option("--batch", type=click.IntRange(1), default=64, help="Rollouts that grow at once; more need more memory.")
@judge_options(workers=1)
def command(**options: Any) -> None:
    """Build a dataset in OUT: of each problem main rollouts until one is correct, and branches from its least likely tokens.

    The same command goes on where it stopped. Ctrl-C ends at once: finished problems are on disk already. The exit code is 1
    where problems are left that the judge could not judge.
    """
    # Settings are checked before the model, which takes seconds, is loaded.
    from ..data_builder.build_settings import Shard

    shard = Shard.parse(options["shard"])
    vllm = vllm_settings(options)
    settings = build_settings(options)
    named = None if options["only"] is None else set(options["only"].read_text(encoding="utf-8").splitlines())
    problems = shard.of(chosen_problems(options, lambda problem: named is None or problem.id in named))
    _build(shard, settings, problems, vllm, options)


def build_settings(options: dict[str, Any]) -> BuildSettings:
    """What the command's options say of how trees are grown. Raises GuidedGenError."""
    from ..data_builder.build_settings import BuildSettings
    from ..data_builder.problems.prompts import template_named

    names = ("independent", "trunk_tries", "tries_at_once", "forks", "branches", "strategy", "min_distance")
    return BuildSettings(
        **{name: options[name] for name in (*names, "max_new_tokens", "max_prompt_tokens", "seed")},
        sampling=chosen_sampling(options),
        template=template_named(options["template"]),
    )


def build_record(options: dict[str, Any], settings: BuildSettings, loaded: LoadedModel) -> dict[str, Any]:
    """What all trees of the dataset have in common."""
    return {"problems": Path(options["problems"]).name, "split": options["split"]} | settings.record(loaded)


def _build(
    shard: Shard, settings: BuildSettings, problems: list[Problem], vllm: VllmSettings | None, options: dict[str, Any]
) -> None:
    from ..data_builder.builder import Skipped, run
    from ..data_builder.judge.judge import Judge
    from ..data_builder.tree_folder import TreeFolder
    from ..engine.models.loading import load_model
    from .build_display import BuildDisplay

    click.echo(f"Loading {options['model']}", err=True)
    loaded = load_model(options["model"], options["precision"], backend=options["backend"], vllm=vllm)
    complete = False
    unjudged = 0
    with (
        loaded,
        TreeFolder(options["out"], build_record(options, settings, loaded), shard) as folder,
        Judge(options["isolation"], options["judge_workers"], stop_at_first_failure=True) as judge,
    ):
        missing = folder.missing(problems)
        before = len(problems) - len(missing)
        click.echo(f"{len(problems)} problems, {before} of them built before; judge isolation: {judge.isolation}", err=True)
        # A job array's scheduler ends a task with SIGTERM. An interrupt can be lost where Python ignores exceptions, as in a
        # finalizer: so it is remembered.
        stopped = threading.Event()

        def stop(*_: object) -> None:
            stopped.set()
            raise KeyboardInterrupt

        def watch(progress: BuildProgress) -> None:
            if stopped.is_set():
                raise KeyboardInterrupt
            display.show(progress)

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        try:
            with BuildDisplay(len(missing)) as display:
                for result in run(loaded, missing, settings, judge, batch=options["batch"], watch=watch):
                    folder.add(result)
                    unjudged += isinstance(result, Skipped) and not result.judged
            complete = True
        except KeyboardInterrupt:
            click.echo("Interrupted: the same command goes on from here", err=True)
    click.echo(f"{len(folder.present)} trees in {options['out']}", err=True)
    if unjudged:
        click.echo(f"{unjudged} problems were not judged: the same command builds them", err=True)
    if not complete:
        sys.exit(130)
    if unjudged:
        sys.exit(1)
