"""`guided-gen solve`: search for a program that solves a problem; the program alone goes to standard output."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import GuidedGenError
from .options import (
    CONTEXT,
    check_names,
    check_options,
    chosen_sampling,
    chosen_scorer,
    chosen_value,
    model_options,
    sampling_options,
    scorer_option,
    value_options,
    vllm_settings,
)

if TYPE_CHECKING:
    from ..solution import Progress, Solution
    from ..solving import Solving

PLAIN_SECONDS = 5.0  # between two lines of progress where stderr is no terminal


@click.command(context_settings=CONTEXT)
@click.argument("problem", type=click.Path(path_type=Path, allow_dash=True))
@model_options
@click.option(
    "--policy",
    default="best-of-n",
    help="best-of-n, early-stop, beam, speculative-rejection, dvts, rebase, particle-filter, forking-search or mcts; settings "
    "follow a colon: beam:width=4. early-stop:lost=0.05 takes the curve that was fitted to the value model.",
)
@value_options
@scorer_option
@click.option("--n", default=8, help="Candidates.")
@click.option("--max-new-tokens", default=512, help="Longest answer, in tokens.")
@sampling_options
@check_options
@click.option(
    "--check-at",
    type=click.Choice(["tokens", "lines"]),
    default="tokens",
    help="Decide every so many tokens, or at each new line.",
)
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write the search's tree to this Parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print every candidate as JSON instead of the best program.")
def command(problem: Path, **options: Any) -> None:
    """Search for a program that solves PROBLEM, a text file, or - for standard input.

    Candidates are run, in a sandbox, on the examples that the statement prints; those that fail rank below those that pass.
    Ctrl-C prints the best answer so far.
    """
    statement = _read(problem)
    if options["save"]:
        _check_writable(options["save"])
    vllm = vllm_settings(options)
    # Settings are checked before the model is looked for, which may take minutes, and loaded, which takes seconds.
    from ..engine.search import SearchSettings
    from ..valuemodel.early_stop import chosen_policy

    check_names(options)
    check_every = options["check_every"] if options["check_at"] == "tokens" else None
    settings = SearchSettings(
        n=options["n"],
        max_new_tokens=options["max_new_tokens"],
        sampling=chosen_sampling(options),
        check_every=options["check_every"],
        budget=options["budget"],
        seed=options["seed"],
    )
    value = chosen_value(options)
    scorer = chosen_scorer(options, value)
    policy = chosen_policy(options["policy"], [scorer], value, check_every)
    from ..generator import GuidedGenerator

    click.echo(f"Loading {options['model']}", err=True)
    generator = GuidedGenerator.from_pretrained(
        options["model"],
        precision=options["precision"],
        value=value,
        value_base=options["value_base"],
        backend=options["backend"],
        vllm=vllm,
    )
    solution = _run(generator.stream(statement, settings, policy=policy, scorer=scorer, check_at=options["check_at"]))
    try:
        click.echo(_summary(solution), err=True)
        click.echo(_as_json(solution) if options["as_json"] else solution.program.rstrip("\n"))
    finally:  # neither is lost where the other cannot be written
        if options["save"]:
            solution.tree.save(options["save"])


def _read(problem: Path) -> str:
    try:
        statement = sys.stdin.buffer.read().decode() if str(problem) == "-" else problem.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GuidedGenError(f"{problem} is not a text file in UTF-8") from None
    except OSError as error:
        raise GuidedGenError(f"{problem} cannot be read: {error.strerror}") from None
    if not statement.strip():
        raise GuidedGenError(f"{problem} is empty: it should hold the statement of a problem")
    if "\0" in statement:
        raise GuidedGenError(f"{problem} is not a text file")
    return statement


def _check_writable(path: Path) -> None:
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise GuidedGenError(f"{path} cannot be written: {error.strerror}") from None


def _run(solving: Solving) -> Solution:
    """Show progress until the search is done; the first Ctrl-C ends it with what there is, the second ends the program."""
    from rich.console import Console

    from ..solution import Progress, Solved

    def interrupt(*_: object) -> None:
        solving.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, interrupt)
    console = Console(stderr=True)
    shown = -PLAIN_SECONDS
    try:
        with console.status("Reading the problem") as status:
            for event in solving:
                if isinstance(event, Progress):
                    if console.is_terminal:
                        status.update(_progress_line(event))
                    elif event.seconds - shown >= PLAIN_SECONDS:
                        click.echo(_progress_line(event), err=True)
                        shown = event.seconds
                elif isinstance(event, Solved):
                    return event.solution
    finally:
        signal.signal(signal.SIGINT, previous)
    raise AssertionError("a search ends with Solved")


def _progress_line(progress: Progress) -> str:
    speed = progress.decoded_tokens / max(progress.seconds, 1e-6)
    best = "" if isnan(progress.best_score) else f" · best score {progress.best_score:.2f}"
    return (
        f"{progress.live} candidates growing, {progress.finished} complete · "
        f"{progress.decoded_tokens} tokens, {speed:.0f} a second{best}"
    )


def _summary(solution: Solution) -> str:
    samples = sum(candidate.multiplicity for candidate in solution.candidates)
    complete = sum(candidate.multiplicity for candidate in solution.candidates if candidate.complete)
    parts = [
        f"{samples} candidates, {complete} complete, {len(solution.candidates)} distinct",
        f"{solution.decoded_tokens} tokens in {solution.seconds:.1f} s",
    ]
    if solution.passing is not None:
        parts.append(f"{solution.passing} pass the statement's examples (isolation: {solution.isolation})")
    else:
        parts.append("no examples found in the statement")
    if not solution.best.complete:
        parts.append("the best answer is incomplete")
    return " · ".join(parts)


def _as_json(solution: Solution) -> str:
    candidates = [
        {
            "program": candidate.program,
            "text": candidate.text,
            "score": _number(candidate.score),
            "ended": candidate.ended.name.lower(),
            "multiplicity": candidate.multiplicity,
            "examples": None if candidate.examples is None else {"passed": candidate.examples[0], "shown": candidate.examples[1]},
            "token_ids": candidate.token_ids.tolist(),
            "logprobs": [_number(x) for x in candidate.logprobs.tolist()],
            "values": [_number(x) for x in candidate.values.tolist()],
        }
        for candidate in solution.candidates
    ]
    return json.dumps(
        {
            "program": solution.program,
            "prompt_tokens": solution.prompt_tokens,
            "decoded_tokens": solution.decoded_tokens,
            "seconds": round(solution.seconds, 3),
            "isolation": solution.isolation,
            "metadata": solution.tree.metadata,
            "candidates": candidates,
        }
    )


def _number(x: float) -> float | None:
    """JSON has no NaN."""
    return x if x == x else None
