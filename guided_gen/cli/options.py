"""Options that several commands share, in groups, and what is made of them.

A group is a decorator. What a group's options mean is said here once; a command adds those that are its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..engine.errors import GuidedGenError, SettingsError
from ..engine.models.known import DEFAULT_MODEL
from ..engine.vllm_backend.settings import VllmSettings
from . import completion

if TYPE_CHECKING:
    from ..data_builder.problems.problem import Problem
    from ..engine.openai_backend.endpoint import Endpoint
    from ..engine.sampling import Sampling

Command = TypeVar("Command", bound=Callable[..., Any])
Decorator = Callable[[Command], Command]
CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True}
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
OUT_FOLDER = click.Path(path_type=Path, file_okay=False)
AUTO, NONE = "auto", "none"


def group(*options: Decorator[Any]) -> Decorator[Any]:
    """One decorator that adds `options`, in this order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_model = click.option(
    "--model", default=DEFAULT_MODEL, shell_complete=completion.models, help="A known name, a folder, a GGUF file or a hub id."
)
_precision = click.option("--precision", default="auto", help="auto, float32, bfloat16 or int8.")
_vllm = click.option(
    "--vllm", multiple=True, metavar="NAME=VALUE", help="A setting of vLLM, such as tensor_parallel_size=2; see docs/vllm.md."
)


def _backends(*names: str, about: str) -> Decorator[Any]:
    return group(_precision, click.option("--backend", type=click.Choice(names), default="torch", help=about), _vllm)


backend_options = _backends("torch", "vllm", about="What decodes.")
# Of commands that can do with another server's whole answers.
whole_answer_options = group(
    _model,
    _backends("torch", "vllm", "openai", about="What decodes; openai: another server, at --base-url."),
    click.option("--base-url", default=None, help="Where a server speaks OpenAI's API, such as http://localhost:11434/v1."),
    click.option("--api-key-env", metavar="NAME", default=None, help="The environment variable that holds that server's key."),
)
model_options = group(_model, backend_options)
value_options = group(
    click.option(
        "--value",
        default=AUTO,
        help="A value model's folder or hub id; auto: the one for this generator that guided-gen values list shows; none.",
    ),
    click.option(
        "--value-base", default=None, help="For a value model that reads text: where its base is, if not where it says."
    ),
)
reader_option = click.option(
    "--reader",
    default=None,
    help="A second, larger model of the same tokens that reads all candidates, for the scorers reader and log-ratio; it "
    "needs its own memory beside the generator's.",
)
scorer_option = click.option(
    "--scorer",
    default=None,
    help="What candidates are compared by: value, logprob, self-certainty, length, reader or log-ratio.  [default: log-ratio "
    "with a reader; else value; logprob without a value model]",
)
sampling_options = group(
    click.option("--temperature", default=0.8, help="0 is greedy."),
    click.option("--top-p", default=0.95),
    click.option("--top-k", default=0, help="0 is off."),
    click.option("--seed", default=0),
)
check_options = group(
    click.option("--budget", type=click.IntRange(1), default=None, help="Most tokens of a search, all candidates together."),
    click.option("--check-every", type=click.IntRange(1), default=16, help="Tokens between two decisions of the policy."),
)
prompt_options = group(
    click.option("--template", default="code", help="Prompt template: code or plan."),
    click.option("--max-new-tokens", default=512, help="Longest answer, in tokens."),
    click.option("--max-prompt-tokens", default=1024, help="Problems with a longer prompt are skipped."),
)
problem_options = group(
    click.option("--problems", default="apps", help="apps, mbpp, humaneval, or a file or folder of problems."),
    click.option("--split", default=None, help="train, validation, untouched or test."),
    click.option("--allow-untouched", is_flag=True, help="Consent to --split untouched, which is kept for final reports."),
    click.option(
        "--difficulty", default=None, help="Only problems of this difficulty (APPS: introductory, interview, competition)."
    ),
    click.option("--limit", type=click.IntRange(1), default=None, help="Only so many: a random part, the same for a seed."),
)
generator_option = click.option("--model", default=None, help="The model that the data are from.  [default: as they say]")
source_option = click.option("--problems", default=None, help="Where the problems are, if not where the build found them.")
untouched_option = click.option(
    "--allow-untouched", is_flag=True, help="Consent to data of the split untouched, which is kept for final reports."
)
cache_option = click.option("--cache", type=OUT_FOLDER, default=None, help="Where the base's states are kept.")
isolation_option = click.option("--isolation", default="auto", help="The judge's isolation: auto, full, namespaces or rlimits.")


def judge_options(workers: int) -> Decorator[Any]:
    """By default `workers` programs at a time."""
    at_once = click.option("--judge-workers", type=click.IntRange(1), default=workers, help="Programs that are judged at once.")
    return group(at_once, isolation_option)


# -- what is made of them


def vllm_settings(options: dict[str, Any]) -> VllmSettings | None:
    """The settings of --vllm; None with another backend. Raises GuidedGenError for what is no setting."""
    if options["backend"] != "vllm":
        if options["vllm"]:
            raise GuidedGenError("--vllm belongs to --backend vllm")
        return None
    return VllmSettings.parse(options["vllm"])


def endpoint(options: dict[str, Any], max_tokens: int) -> Endpoint | None:
    """The server of --base-url; None with another backend. Raises GuidedGenError where what it needs is missing or makes no
    sense.
    """
    name, url = options["api_key_env"], options["base_url"]
    if options["backend"] != "openai":
        if (name, url) != (None, None):
            raise GuidedGenError("--base-url and --api-key-env belong to --backend openai")
        return None
    from ..engine.openai_backend.endpoint import Endpoint
    from ..other_servers import as_endpoint

    if name is not None and not os.environ.get(name):
        raise GuidedGenError(f"the environment has no {name}, which should hold an API key")
    found = None if url is None else Endpoint(url, None if name is None else os.environ[name], max_tokens)
    return as_endpoint(found, options["precision"], None if options["value"] == NONE else options["value"])


def chosen_sampling(options: dict[str, Any]) -> Sampling:
    from ..engine.sampling import Sampling

    return Sampling(options["temperature"], options["top_p"], options["top_k"])


def chosen_problems(
    options: dict[str, Any], wanted: Callable[[Problem], bool] = lambda problem: True, lacking: str = "that is asked for"
) -> list[Problem]:
    """Those of --problems and --split that are `wanted`, of --difficulty, in a random order by --seed, the first --limit of them.

    Raises GuidedGenError where there are none; `lacking` ends its sentence, "... holds 3 problems, but none".
    """
    from ..data_builder.build_settings import build_order
    from ..data_builder.problems.loaders import load_problems

    problems = load_problems(options["problems"], options["split"], allow_untouched=options["allow_untouched"])
    difficulty = options["difficulty"]
    alike = [one for one in problems if difficulty in (None, one.difficulty)]
    chosen = [one for one in alike if wanted(one)]
    if not alike:
        raise GuidedGenError(f"{options['problems']} holds no problems of the difficulty {difficulty!r}")
    if not chosen:
        raise GuidedGenError(f"{options['problems']} holds {len(alike)} problems, but none {lacking}")
    return build_order(chosen, options["seed"])[: options["limit"]]


def check_names(options: dict[str, Any]) -> None:
    """Raise GuidedGenError where --policy or --scorer names nothing, before the model is looked for."""
    from ..engine.scorers import scorer_named
    from ..valuemodel.early_stop import parsed_policy

    parsed_policy(options["policy"])
    if options["scorer"] is not None:
        scorer_named(options["scorer"])


def chosen_value(options: dict[str, Any]) -> Path | None:
    """The folder of the value model for the generator --model, or None; says which where that was left to us, unless `quiet`."""
    if options["value"] == NONE or options["backend"] == "openai":
        return None
    if options["value"] != AUTO:
        from ..valuemodel.made_for import local_folder

        return local_folder(options["value"])
    from ..data_builder.problems.prompts import DEFAULT_TEMPLATE, template_named
    from ..known_values import known_value

    template = template_named(options["template"]) if "template" in options else DEFAULT_TEMPLATE
    found = known_value(options["model"], options["precision"], options["backend"], template)
    if options.get("quiet"):
        return found
    if found is None:
        click.echo("Ranking without a value model (guided-gen adapt makes one)", err=True)
    else:
        click.echo(f"Values: {found.name}", err=True)
    return found


def chosen_scorer(options: dict[str, Any], value: Path | None) -> str:
    """The name of the scorer that is asked for, or the best there is. Raises GuidedGenError for values without a value model, and
    for readings without a reader.
    """
    from ..engine.scorers import LOG_RATIO

    if options["reader"] is not None and options["backend"] == "openai":
        raise GuidedGenError("a reader reads a model's own tokens, which another server does not give: leave out --reader")
    check_scorers([options["scorer"]], value is not None, options["reader"] is not None)
    best = LOG_RATIO if options["reader"] is not None else "logprob" if value is None else "value"
    scorer: str = options["scorer"] or best
    return scorer


def check_scorers(names: Collection[str], known: bool, reads: bool) -> None:
    """Raise SettingsError where values are asked for that no value model gives, or a reader's scores without a reader."""
    from ..engine.scorers import OF_READERS

    if "value" in names and not known:
        raise SettingsError("the scorer value needs a value model: name its folder with --value")
    for name in OF_READERS:
        if name in names and not reads:
            raise SettingsError(f"the scorer {name} needs a second model that reads the answers: name it with --reader")
