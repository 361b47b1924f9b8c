"""`guided-gen bench run`, and its stages `bench generate` and `bench judge`: searches with each policy, judged and reported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .bench import show_report
from .options import (
    CONTEXT,
    OUT_FOLDER,
    check_options,
    check_scorers,
    chosen_problems,
    chosen_sampling,
    chosen_value,
    group,
    judge_options,
    model_options,
    problem_options,
    prompt_options,
    reader_option,
    sampling_options,
    untouched_option,
    value_options,
    vllm_settings,
)

if TYPE_CHECKING:
    from ..benchmarks.arms import Arm
    from ..benchmarks.generation import GenerationSettings
    from ..engine.scorers import Scorer

_OUT = click.option(
    "--out", required=True, type=OUT_FOLDER, help="Trees, results and report; the same command goes on where it stopped."
)
_GENERATE = group(
    problem_options,
    click.option("--tests-kind", default=None, help="Only problems with such tests: full, full-reconstructed or example."),
    click.option(
        "--policies",
        default="best-of-n",
        help="Separated by commas; settings follow a colon: beam:width=4,early-stop:threshold=0.2,slack=0.3.",
    ),
    click.option("--n", type=click.IntRange(1), default=16, help="Candidates of a search."),
    click.option("--best-of", default="1,4", help="Also best-of-n with so many, for its curve of pass@1 against cost."),
    click.option(
        "--scorers",
        default=None,
        help="What answers are ranked by: value, logprob, self-certainty, length, ended-and-parses, and, by asking the model, "
        "p-true and rating.  [default: all but those that ask the model; value where there is a value model]",
    ),
    click.option("--guides", default=None, help="Those of the first four that guide policies.  [default: value, else logprob]"),
    value_options,
    reader_option,
    check_options,
    model_options,
    prompt_options,
    sampling_options,
    click.option("--together", type=click.IntRange(1), default=4, help="Searches of a policy in one batch."),
)
_JUDGE = group(
    click.option(
        "--examples/--no-examples",
        default=None,
        help="Also rank by the examples that statements print.  [default: where tests are full; elsewhere it is refused]",
    ),
    judge_options(workers=2),
)


@click.command(context_settings=CONTEXT)
@_GENERATE
@_JUDGE
@_OUT
def run(**options: Any) -> None:
    """Search for answers to problems with each policy, judge them, and report pass@1 beside what it cost."""
    _generate(options)
    _judge(options)
    from ..benchmarks.results import JUDGED

    show_report([options["out"] / JUDGED], options["out"], options["seed"])


@click.command(context_settings=CONTEXT)
@_GENERATE
@_OUT
def generate(**options: Any) -> None:
    """Search for answers to problems with each policy, and store trees, programs and costs in OUT. Nothing is judged."""
    _generate(options)


@click.command(context_settings=CONTEXT)
@click.option("--problems", default=None, help="Where the problems are, if not where they were found.")
@untouched_option
@_JUDGE
@_OUT
def judge(**options: Any) -> None:
    """Judge what `bench generate` stored in OUT; equal programs once."""
    _judge(options)


def _generate(options: dict[str, Any]) -> None:
    # Settings are checked before the model is looked for, which may take minutes, and loaded, which takes seconds.
    from ..benchmarks.arms import arms_named, check_guides, split_policies
    from ..benchmarks.generation import Generator, gradable, jobs_of
    from ..benchmarks.judging import check_examples
    from ..benchmarks.results import SEARCHES, LineFile, RunTrees, value_identity
    from ..benchmarks.text_scorers import TEXT_SCORERS, check_asked
    from ..data_builder.problems.prompts import template_named
    from ..engine.models.files import model_identity, resolve_model
    from ..engine.models.loading import load_model, with_reader
    from ..engine.progress import stage
    from ..valuemodel.attach import load_scored_model
    from ..valuemodel.early_stop import parsed_policy
    from ..valuemodel.made_for import Prompts

    backend, vllm = options["backend"], vllm_settings(options)
    for policy in split_policies(options["policies"]):
        parsed_policy(policy)
    _scorers(options, known=None, reads=options["reader"] is not None)
    settings = _settings(options)
    problems = chosen_problems(
        options,
        lambda one: options["tests_kind"] in (None, one.tests_kind) and gradable(one),
        "with tests that can tell right programs from wrong ones",
    )
    if options.get("examples"):
        check_examples(problem.tests_kind for problem in problems)
    value = chosen_value(options)
    reads = options["reader"] is not None
    scorers, rankings, guides = _scorers(options, known=value is not None, reads=reads)
    check_asked(rankings, backend)
    asked = [name for name in rankings if name in TEXT_SCORERS]
    arms: list[Arm] = arms_named(options["policies"], options["n"], options["best_of"], value, options["check_every"])
    check_guides(arms, guides)
    template = template_named(options["template"])
    click.echo(f"Loading {options['model']}", err=True)
    if value is None:
        loaded = load_model(options["model"], options["precision"], None, backend, vllm)
    else:
        prompts = Prompts(template.name, template.hash)
        chosen = options["model"], options["precision"], value, prompts, options["value_base"]
        loaded = load_scored_model(*chosen, backend, vllm)
    if options["reader"] is not None:
        loaded = with_reader(loaded, options["reader"])
    import torch

    about = {"kind": "searches", "problems": Path(options["problems"]).name, "split": options["split"]}
    about |= {"scorers": sorted(rankings), "threads": torch.get_num_threads()}
    about |= {"reader": None if options["reader"] is None else model_identity(resolve_model(options["reader"])).sha256}
    about |= {"vllm": None if vllm is None else vllm.engine_arguments()}
    record = about | settings.record(loaded) | value_identity(value)
    jobs = jobs_of(arms, guides, settings)
    generator = Generator(loaded, settings, scorers)
    count = len(problems) * len(jobs)
    with (
        loaded,
        LineFile(options["out"] / SEARCHES, record) as written,
        stage(f"{count} searches: {len(problems)} problems, {len(jobs)} policies", total=float(count)) as advance,
    ):
        generator.generate(problems, jobs, asked, written, RunTrees(options["out"]), lambda found: advance(found.done))


def _judge(options: dict[str, Any]) -> None:
    from ..benchmarks.judging import check_examples, judge_searches
    from ..benchmarks.results import JUDGED, SEARCHES, LineFile, RunTrees, judge_identity, lines_in, read_results
    from ..data_builder.judge.judge import Judge
    from ..data_builder.problems.loaders import load_problems
    from ..engine.progress import stage

    searches = read_results([lines_in(options["out"], SEARCHES)])
    told = searches.run
    if options["examples"]:
        check_examples(line["tests_kind"] for line in searches.lines)
    source = options["problems"] or told["problems"]
    problems = load_problems(source, told["split"], allow_untouched=options["allow_untouched"])
    no_examples = options["examples"] is False
    about = {"kind": "judged", "no_examples": no_examples or None}  # None, as where results do not say
    with (
        Judge(options["isolation"], options["judge_workers"], stop_at_first_failure=True) as judge,
        LineFile(options["out"] / JUDGED, told | about | {"judge": judge_identity(judge.isolation)}) as written,
        stage(f"Judging {len(searches.lines)} searches", total=float(len(searches.lines))) as advance,
    ):
        chosen = searches.lines, RunTrees(options["out"]), problems, told["scorers"], judge, written
        judge_searches(*chosen, examples=not no_examples, watch=lambda done: advance(float(done)))


def _scorers(options: dict[str, Any], known: bool | None, reads: bool) -> tuple[dict[str, Scorer], list[str], list[str]]:
    """(those that read a tree, the names of all that rank, of those that guide). `known`: whether there are values; None: not
    found out yet; `reads`: whether there is a reader."""
    from ..benchmarks.arms import split_scorers
    from ..benchmarks.text_scorers import TEXT_SCORERS
    from ..engine.scorers import CERTAINTY, LENGTH, LOGPROB, OF_READERS, PARSES, VALUE, scorer_named

    default = [LOGPROB, CERTAINTY, LENGTH, PARSES, *([VALUE] if known else []), *(OF_READERS if reads else [])]
    names = split_scorers(options["scorers"]) if options["scorers"] else default
    guides = split_scorers(options["guides"]) if options["guides"] else [VALUE if VALUE in names else LOGPROB]
    check_scorers({*names, *guides}, known is not False, reads)
    of_trees = [*guides, *(name for name in names if name not in (*TEXT_SCORERS, PARSES))]
    return {name: scorer_named(name) for name in dict.fromkeys(of_trees)}, names, guides


def _settings(options: dict[str, Any]) -> GenerationSettings:
    from ..benchmarks.generation import GenerationSettings
    from ..data_builder.problems.prompts import template_named

    names = ("max_new_tokens", "max_prompt_tokens", "check_every", "budget", "together", "seed")
    return GenerationSettings(
        **{name: options[name] for name in names},
        sampling=chosen_sampling(options),
        template=template_named(options["template"]),
    )
