"""`guided-gen bench run`, and its stages `bench generate` and `bench judge`: searches with each policy, judged and reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.models.sources import DEFAULT_MODEL
from .backend_options import backend_options, vllm_settings
from .bench import check_value, show_report

if TYPE_CHECKING:
    from ..benchmarks.arms import Arm
    from ..benchmarks.generation import GenerationSettings
    from ..data_builder.problems.problem import Problem
    from ..engine.scorers import Scorer

Option = Callable[[Any], Any]
_CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}
_OUT = click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Trees, results and report; the same command goes on where it stopped.",
)
_GENERATE: list[Option] = [
    click.option("--problems", default="apps", help="apps, mbpp, humaneval, or a file or folder of problems."),
    click.option("--split", default=None, help="train, validation, untouched or test."),
    click.option("--allow-untouched", is_flag=True, help="Consent to --split untouched, which is kept for final reports."),
    click.option("--difficulty", default=None, help="Only problems of this difficulty."),
    click.option("--tests-kind", default=None, help="Only problems with such tests: full, full-reconstructed or example."),
    click.option("--limit", type=click.IntRange(1), default=None, help="Only so many: a random part, the same for a seed."),
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
        "p-true and rating.  [default: all but those that ask the model; value with --value]",
    ),
    click.option("--guides", default=None, help="Those of the first four that guide policies.  [default: value, else logprob]"),
    click.option("--value", type=click.Path(path_type=Path, exists=True, file_okay=False), default=None, help="A value model."),
    click.option("--value-base", default=None, help="For a value model that reads text: where its base is."),
    click.option("--budget", type=click.IntRange(1), default=None, help="Most tokens of a search, all candidates together."),
    click.option("--check-every", type=click.IntRange(1), default=16, help="Tokens between two decisions of a policy."),
    click.option("--model", default=DEFAULT_MODEL, help="A known name, a folder, a GGUF file or a hub id."),
    click.option("--precision", default="auto", help="auto, float32, bfloat16 or int8."),
    backend_options,
    click.option("--template", default="code", help="Prompt template: code or plan."),
    click.option("--max-new-tokens", default=512, help="Longest answer, in tokens."),
    click.option("--max-prompt-tokens", default=1024, help="Problems with a longer prompt are skipped."),
    click.option("--temperature", default=0.8),
    click.option("--top-p", default=0.95),
    click.option("--top-k", default=0, help="0 is off."),
    click.option("--together", type=click.IntRange(1), default=4, help="Searches of a policy in one batch."),
    click.option("--seed", default=0),
]
_JUDGE: list[Option] = [
    click.option(
        "--examples/--no-examples",
        default=None,
        help="Also rank by the examples that statements print.  [default: where tests are full; elsewhere it is refused]",
    ),
    click.option("--judge-workers", type=click.IntRange(1), default=2, help="Programs that are judged at once."),
    click.option("--isolation", default="auto", help="The judge's isolation: auto, full, namespaces or rlimits."),
]


def _with(options: list[Option]) -> Option:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.command(context_settings=_CONTEXT)
@_with(_GENERATE)
@_with(_JUDGE)
@_OUT
def run(**options: Any) -> None:
    """Search for answers to problems with each policy, judge them, and report pass@1 beside what it cost."""
    _generate(options)
    _judge(options)
    from ..benchmarks.reporting import JUDGED

    show_report([options["out"] / JUDGED], options["out"], options["seed"])


@click.command(context_settings=_CONTEXT)
@_with(_GENERATE)
@_OUT
def generate(**options: Any) -> None:
    """Search for answers to problems with each policy, and store trees, programs and costs in OUT. Nothing is judged."""
    _generate(options)


@click.command(context_settings=_CONTEXT)
@click.option("--problems", default=None, help="Where the problems are, if not where they were found.")
@click.option("--allow-untouched", is_flag=True, help="Consent to searches of the split untouched.")
@_with(_JUDGE)
@_OUT
def judge(**options: Any) -> None:
    """Judge what `bench generate` stored in OUT; equal programs once."""
    _judge(options)


def _generate(options: dict[str, Any]) -> None:
    # Settings are checked before the model, which takes seconds, is loaded.
    from ..benchmarks.arms import arms_named, check_guides
    from ..benchmarks.generation import Generator, jobs_of
    from ..benchmarks.identity import value_identity
    from ..benchmarks.judging import check_examples
    from ..benchmarks.lines import LineFile
    from ..benchmarks.reporting import SEARCHES, TREES
    from ..benchmarks.text_scorers import TEXT_SCORERS, check_asked
    from ..data_builder.problems.prompts import template_named
    from ..engine.models.loading import load_model
    from ..engine.progress import stage
    from ..valuemodel.attach import Prompts, load_scored_model

    backend, vllm = options["backend"], vllm_settings(options)
    scorers, rankings, guides = _scorers(options)
    check_asked(rankings, backend)
    asked = [name for name in rankings if name in TEXT_SCORERS]
    arms: list[Arm] = arms_named(*(options[name] for name in ("policies", "n", "best_of", "value", "check_every")))
    check_guides(arms, guides)
    settings = _settings(options)
    problems = _problems(options)
    if options.get("examples"):
        check_examples(problem.tests_kind for problem in problems)
    template = template_named(options["template"])
    click.echo(f"Loading {options['model']}", err=True)
    if options["value"] is None:
        loaded = load_model(options["model"], options["precision"], None, backend, vllm)
    else:
        prompts = Prompts(template.name, template.hash)
        chosen = options["model"], options["precision"], options["value"], prompts, options["value_base"]
        loaded = load_scored_model(*chosen, backend, vllm)
    import torch

    about = {"kind": "searches", "problems": Path(options["problems"]).name, "split": options["split"]}
    about |= {"scorers": sorted(rankings), "threads": torch.get_num_threads()}
    about |= {"vllm": None if vllm is None else vllm.engine_arguments()}
    record = about | settings.record(loaded) | value_identity(options["value"])
    jobs = jobs_of(arms, guides, settings)
    generator = Generator(loaded, settings, scorers)
    count = len(problems) * len(jobs)
    with (
        LineFile(options["out"] / SEARCHES, record) as written,
        stage(f"{count} searches: {len(problems)} problems, {len(jobs)} policies", total=float(count)) as advance,
    ):
        generator.generate(problems, jobs, asked, written, options["out"] / TREES, lambda found: advance(found.done))


def _judge(options: dict[str, Any]) -> None:
    from ..benchmarks.identity import judge_identity
    from ..benchmarks.judging import check_examples, judge_searches
    from ..benchmarks.lines import LineFile, read_results
    from ..benchmarks.reporting import JUDGED, SEARCHES, TREES
    from ..data_builder.judge.judge import Judge
    from ..data_builder.problems.loaders import load_problems
    from ..engine.progress import stage

    searches = read_results([options["out"] / SEARCHES])
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
        chosen = searches.lines, options["out"] / TREES, problems, told["scorers"], judge, written
        judge_searches(*chosen, examples=not no_examples, watch=lambda done: advance(float(done)))


def _scorers(options: dict[str, Any]) -> tuple[dict[str, Scorer], list[str], list[str]]:
    """(those that read a tree, the names of all that rank, of those that guide)."""
    from ..benchmarks.arms import ArmError, split_scorers
    from ..benchmarks.judging import ENDED_AND_PARSES
    from ..benchmarks.text_scorers import TEXT_SCORERS
    from ..engine.scorers import scorer_named

    default = ["logprob", "self-certainty", "length", ENDED_AND_PARSES, *(["value"] if options["value"] else [])]
    names = split_scorers(options["scorers"]) if options["scorers"] else default
    guides = split_scorers(options["guides"]) if options["guides"] else ["value" if "value" in names else "logprob"]
    check_value({*names, *guides}, options["value"])
    of_text = {*TEXT_SCORERS, ENDED_AND_PARSES}
    for name in guides:
        if name in of_text:
            raise ArmError(f"the scorer {name} reads whole answers: it ranks them, and cannot guide a policy")
    return {name: scorer_named(name) for name in dict.fromkeys([*names, *guides]) if name not in of_text}, names, guides


def _settings(options: dict[str, Any]) -> GenerationSettings:
    from ..benchmarks.generation import GenerationSettings
    from ..data_builder.problems.prompts import template_named
    from ..engine.sampling import Sampling

    names = ("max_new_tokens", "max_prompt_tokens", "check_every", "budget", "together", "seed")
    return GenerationSettings(
        **{name: options[name] for name in names},
        sampling=Sampling(options["temperature"], options["top_p"], options["top_k"]),
        template=template_named(options["template"]),
    )


def _problems(options: dict[str, Any]) -> list[Problem]:
    """Those that can be graded, in the order of builds: with full tests, those that these are strong enough for."""
    from ..benchmarks.generation import GenerationError, gradable
    from ..data_builder.build_settings import build_order
    from ..data_builder.problems.loaders import load_problems

    problems = load_problems(options["problems"], options["split"], allow_untouched=options["allow_untouched"])
    for name in ("difficulty", "tests_kind"):
        if options[name] is not None:
            problems = [problem for problem in problems if getattr(problem, name) == options[name]]
    chosen = build_order([problem for problem in problems if gradable(problem)], options["seed"])[: options["limit"]]
    if not chosen:
        raise GenerationError(f"{options['problems']} holds no such problems with tests to grade by")
    return chosen
