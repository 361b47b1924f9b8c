"""`guided-gen build`: a forking-token dataset, or independent rollouts, of a set of problems."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.models.sources import DEFAULT_MODEL
from .backend_options import backend_options, vllm_settings

if TYPE_CHECKING:
    from ..data_builder.build_settings import BuildSettings, Shard
    from ..data_builder.problems.problem import Problem
    from ..engine.vllm_backend.settings import VllmSettings


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--problems", default="apps", help="apps, mbpp, humaneval, or a file or folder of problems.")
@click.option("--split", default=None, help="train, validation, untouched or test.")
@click.option("--allow-untouched", is_flag=True, help="Consent to --split untouched, which is kept for final reports.")
@click.option("--difficulty", default=None, help="Only problems of this difficulty (APPS: introductory, interview, competition).")
@click.option(
    "--limit", type=click.IntRange(1), default=None, help="Only so many problems: a random part of them, the same for a seed."
)
@click.option("--shard", default="0/1", help="i/n: build only the i-th of n parts, counted from 0.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset's folder; goes on where it stopped.",
)
@click.option("--model", default=DEFAULT_MODEL, help="A known name, a folder, a GGUF file or a hub id.")
@click.option("--precision", default="auto", help="auto, float32, bfloat16 or int8.")
@backend_options
@click.option("--template", default="code", help="Prompt template: code or plan.")
@click.option("--independent", default=0, help="Sample so many rollouts of every problem, and fork nothing.")
@click.option("--trunk-tries", default=8, help="Most main rollouts until one is correct.")
@click.option("--tries-at-once", default=4, help="Main rollouts in each go.")
@click.option("--forks", default=6, help="Branch points of the trunk.")
@click.option("--branches", default=6, help="Rollouts from each branch point.")
@click.option("--strategy", default="lowest_prob", help="Where to branch: lowest_prob, entropy, margin or random.")
@click.option("--min-distance", default=1, help="Least distance between branch points, in tokens.")
@click.option("--max-new-tokens", default=512, help="Longest answer, in tokens.")
@click.option("--max-prompt-tokens", default=1024, help="Problems with a longer prompt are skipped.")
@click.option("--temperature", default=0.8)
@click.option("--top-p", default=0.95)
@click.option("--top-k", default=0, help="0 is off.")
@click.option("--seed", default=0)
@click.option("--batch", type=click.IntRange(1), default=64, help="Rollouts that grow at once; more need more memory.")
@click.option("--judge-workers", type=click.IntRange(1), default=1, help="Programs that are judged at once.")
@click.option("--isolation", default="auto", help="The judge's isolation: auto, full, namespaces or rlimits.")
def command(**options: Any) -> None:
    """Build a dataset in OUT: of each problem main rollouts until one is correct, and branches from its least likely tokens.

    The same command goes on where it stopped. Ctrl-C ends at once: finished problems are on disk already. The exit code is 1
    where problems are left that the judge could not judge.
    """
    # Settings are checked before the model, which takes seconds, is loaded.
    from ..data_builder.build_settings import Shard

    shard = Shard.parse(options["shard"])
    vllm = vllm_settings(options)
    settings = _settings(options)
    problems = shard.of(_problems(options))
    _build(shard, settings, problems, vllm, options)


def _settings(options: dict[str, Any]) -> BuildSettings:
    from ..data_builder.build_settings import BuildSettings
    from ..data_builder.problems.prompts import template_named
    from ..engine.sampling import Sampling

    names = ("independent", "trunk_tries", "tries_at_once", "forks", "branches", "strategy", "min_distance")
    return BuildSettings(
        **{name: options[name] for name in (*names, "max_new_tokens", "max_prompt_tokens", "seed")},
        sampling=Sampling(options["temperature"], options["top_p"], options["top_k"]),
        template=template_named(options["template"]),
    )


def _problems(options: dict[str, Any]) -> list[Problem]:
    from ..data_builder.build_settings import BuildError, build_order
    from ..data_builder.problems.loaders import load_problems

    problems = load_problems(options["problems"], options["split"], allow_untouched=options["allow_untouched"])
    if options["difficulty"] is not None:
        problems = [problem for problem in problems if problem.difficulty == options["difficulty"]]
        if not problems:
            raise BuildError(f"no problem of {options['problems']} has the difficulty {options['difficulty']!r}")
    return build_order(problems, options["seed"])[: options["limit"]]


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
    source = {"problems": Path(options["problems"]).name, "split": options["split"]}
    complete = False
    unjudged = 0
    with (
        TreeFolder(options["out"], source | settings.record(loaded), shard) as folder,
        Judge(options["isolation"], options["judge_workers"], stop_at_first_failure=True) as judge,
    ):
        missing = folder.missing(problems)
        before = len(problems) - len(missing)
        click.echo(f"{len(problems)} problems, {before} of them built before; judge isolation: {judge.isolation}", err=True)
        # A job array's scheduler ends a task with SIGTERM.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with BuildDisplay(len(missing)) as display:
                for result in run(loaded, missing, settings, judge, batch=options["batch"], watch=display.show):
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
