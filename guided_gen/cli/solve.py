"""`guided-gen solve`: search for a program that solves a problem; the program alone goes to standard output."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import GuidedGenError
from . import completion
from .options import (
    CONTEXT,
    check_names,
    check_options,
    chosen_sampling,
    chosen_scorer,
    chosen_value,
    endpoint,
    reader_option,
    sampling_options,
    scorer_option,
    value_options,
    vllm_settings,
    whole_answer_options,
)

if TYPE_CHECKING:
    from ..solution import Solution
    from ..solving import Solving

CANDIDATES, SERVER_CANDIDATES = 16, 8  # here 16 take 1.2 to 1.4 times the time of 8, elsewhere perhaps twice
PLAIN_SECONDS = 5.0  # between two lines of progress where stderr is no terminal
FAILS, INTERRUPTED = 3, 130  # exit codes, beside 0, 1 of an error and 2 of a wrong option
OUT_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(context_settings=CONTEXT)
@click.argument("problem", shell_complete=completion.files)
@whole_answer_options
@click.option(
    "--policy",
    default="best-of-n",
    shell_complete=completion.policies,
    help="best-of-n, early-stop, beam, speculative-rejection, dvts, rebase, particle-filter, forking-search or mcts; settings "
    "follow a colon: beam:width=4. early-stop:lost=0.05 takes the curve that was fitted to the value model.",
)
@value_options
@reader_option
@scorer_option
@click.option(
    "--n", "-n", type=int, default=None, help=f"Candidates.  [default: {CANDIDATES}; with --backend openai {SERVER_CANDIDATES}]"
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=None,
    help="Candidates to go on to while all fail an example, or, with "
    "--budget, while none is likely enough.  [default: twice --n]",
)
@click.option("--enough", default=0.95, help="How likely to be correct a candidate has to be for the search to end.")
@click.option(
    "--repair",
    type=click.IntRange(0),
    default=0,
    help="Show the model the best program and the example that it fails, and take so many corrected answers as candidates, too. "
    "--most is then --n by default.",
)
@click.option("--max-new-tokens", default=512, help="Longest answer, in tokens.")
@sampling_options
@check_options
@click.option(
    "--check-at",
    type=click.Choice(["tokens", "lines"]),
    default="tokens",
    help="Decide every so many tokens, or at each new line.",
)
@click.option("--tests", type=OUT_FILE, help="Further examples: asserts as pytest has them, or Input and Output blocks.")
@click.option("--output", "-o", type=OUT_FILE, help="Write the program to this file.  [default: standard output]")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors, and what is wrong with the program.")
@click.option("--save", type=OUT_FILE, help="Write the search's tree to this Parquet file.")
@click.option("--json", "as_json", is_flag=True, help="Print every candidate as JSON instead of the best program.")
def command(problem: str, **options: Any) -> int:
    """Search for a program that solves PROBLEM: a text file, - for standard input, or the statement itself in quotes.

    Candidates are run, in a sandbox, on the examples that the statement prints and on those of --tests; the more they pass the
    higher they rank, and then the more likely they are to be correct. Ctrl-C prints the best answer so far.

    Exit codes: 0 done; 1 an error; 2 a wrong option; 3 the program fails an example; 130 interrupted.
    """
    statement = read_statement(problem)
    for path in filter(None, (options["save"], options["output"])):
        _check_writable(path)
    vllm, server = vllm_settings(options), endpoint(options, options["max_new_tokens"])
    if not options["quiet"]:  # at once: what follows imports torch
        click.echo(f"guided-gen: searching with {options['model']}", err=True)
    # Settings are checked before the model is looked for, which may take minutes, and loaded, which takes seconds.
    from ..engine.search import SearchSettings
    from ..own_tests import problem_with_tests
    from ..valuemodel.early_stop import chosen_policy

    check_names(options)
    n = options["n"]
    if n is None:
        n = CANDIDATES if server is None else SERVER_CANDIDATES
    settings = SearchSettings(
        n=n,
        max_new_tokens=options["max_new_tokens"],
        sampling=chosen_sampling(options),
        check_every=options["check_every"],
        budget=options["budget"],
        seed=options["seed"],
        enough=options["enough"],
        most=options["most"] or (1 if options["repair"] else 2) * n,
    )
    asked = problem_with_tests(statement, options["tests"])
    value = chosen_value(options)
    scorer = chosen_scorer(options, value)
    check_every = options["check_every"] if options["check_at"] == "tokens" else None
    policy = chosen_policy(options["policy"], [scorer], value, check_every)
    from ..generator import GuidedGenerator
    from ..repair import joined, repairing

    with GuidedGenerator.from_pretrained(
        options["model"],
        precision=options["precision"],
        value=value,
        value_base=options["value_base"],
        backend=options["backend"],
        vllm=vllm,
        endpoint=server,
        reader=options["reader"],
    ) as generator:
        solving = generator.stream(asked, settings, policy=policy, scorer=scorer, check_at=options["check_at"])
        solution, interrupted = _run(solving, options["quiet"])
        turn = repairing(solving, solution, options["repair"]) if options["repair"] and not interrupted else None
        if turn is not None:
            repaired, interrupted = _run(turn, options["quiet"])
            solution = joined(solution, repaired)
        _print(solution, options)
    if interrupted:
        return INTERRUPTED
    return FAILS if solution.best.passes is False else 0


def read_statement(problem: str) -> str:
    """The text of a file or of standard input, or the argument itself. Raises GuidedGenError where that is no statement."""
    if problem != "-" and _is_statement(problem):
        return problem
    try:
        statement = sys.stdin.buffer.read().decode() if problem == "-" else Path(problem).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise GuidedGenError(f"{problem} is not a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        raise GuidedGenError(f"{problem} cannot be read: {getattr(error, 'strerror', error)}") from None
    if not statement.strip():
        raise GuidedGenError(f"{problem} is empty: it should hold the statement of a problem")
    if "\0" in statement:
        raise GuidedGenError(f"{problem} is not a text file")
    return statement


def _is_statement(problem: str) -> bool:
    """Several words that name no file, and do not look as if they should."""
    try:
        found = Path(problem).exists()
    except (OSError, ValueError):  # too long for a name
        found = False
    return not found and len(problem.split()) > 1 and not problem.endswith((".txt", ".md"))


def _check_writable(path: Path) -> None:
    from ..engine.files import check_replaceable

    try:
        check_replaceable(path)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise GuidedGenError(f"{path} cannot be written: {error.strerror}") from None


def _run(solving: Solving, quiet: bool) -> tuple[Solution, bool]:
    """Show progress until the search is done; the first Ctrl-C ends it with what there is, the second ends the program."""
    from rich.console import Console

    from ..solution import Progress, Solved

    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        solving.cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, interrupt)
    console = Console(stderr=True, quiet=quiet)
    shown = -PLAIN_SECONDS
    try:
        with console.status("Reading the problem") as status:
            for event in solving:
                if isinstance(event, Progress) and not quiet:
                    if console.is_terminal:
                        status.update(str(event))
                    elif event.seconds - shown >= PLAIN_SECONDS:
                        click.echo(str(event), err=True)
                        shown = event.seconds
                elif isinstance(event, Solved):
                    return event.solution, interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
    raise AssertionError("a search ends with Solved")


def _print(solution: Solution, options: dict[str, Any]) -> None:
    """What was found, where it was asked for; nothing is lost where another part cannot be written."""
    from ..engine.files import write_atomically
    from ..engine.tree import save_trees
    from .solve_report import INCOMPLETE, as_json, failed_example, summary

    if options["backend"] == "openai":  # pieces of text, which no model's files tell
        for tree in solution.trees:
            tree.metadata["pieces"] = solution.tokenizer.pieces
    try:
        if not options["quiet"]:
            click.echo(summary(solution), err=True)
        text = as_json(solution) if options["as_json"] else solution.program.rstrip("\n")
        if options["output"]:
            write_atomically(options["output"], text + "\n")
        else:
            click.echo(text)
        if solution.best.passes is False:
            click.echo(failed_example(solution), err=True)
        elif options["quiet"] and not solution.best.complete:
            click.echo(INCOMPLETE, err=True)
    finally:
        if options["save"]:
            save_trees(solution.trees, options["save"])
