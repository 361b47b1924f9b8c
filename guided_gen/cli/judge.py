"""`guided-gen judge`: verdicts for a file of answers, or the attack suite on this machine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import DataError

if TYPE_CHECKING:
    from ..data_builder.judge.attacks import AttackResult
    from ..data_builder.judge.judge import Judge
    from ..data_builder.judge.verdict import Verdict
    from ..data_builder.problems.problem import Problem


@click.command()
@click.option("--problems", metavar="FILE", help="apps, mbpp, humaneval, or a file or folder with problems.")
@click.option("--split", help="Which part of the problems: train, validation, test.")
@click.option("--answers", type=click.Path(path_type=Path), help="JSON lines with problem_id and completion.")
@click.option("--isolation", default="auto", show_default=True, help="full, namespaces, rlimits, or the strongest there is.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Programs at a time.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a verdict, or an attack, on a line.")
@click.option("--selftest", is_flag=True, help="Run hostile programs at every isolation level of this machine.")
def command(
    problems: str | None, split: str | None, answers: Path | None, isolation: Any, workers: int, as_json: bool, selftest: bool
) -> None:
    """Run answers on their problems' tests in a sandbox.

    The exit code is 0 if the judge did its work, whatever the verdicts. With --selftest it is 1 if an attack got a false pass
    or, at full isolation, out of the sandbox.
    """
    if selftest:
        _selftest(isolation, as_json)
        return
    if problems is None or answers is None:
        raise click.UsageError("Give --problems and --answers, or --selftest.")
    from ..data_builder.judge.judge import Judge
    from ..data_builder.problems.loaders import load_problems

    by_id = {problem.id: problem for problem in load_problems(problems, split)}
    items = list(_read_answers(answers, by_id))
    with Judge(isolation, workers=workers) as judge:
        verdicts = []
        for line, verdict in judge.judge_many(items):
            verdicts.append(verdict)
            if as_json:
                click.echo(json.dumps({"line": line, **asdict(verdict)}))
        if not as_json:
            _print_summary(verdicts, judge)


def _read_answers(path: Path, problems: dict[str, Problem]) -> Iterator[tuple[int, Problem, str]]:
    """(line number, problem, program) for each answer; the program is extracted from the completion."""
    from ..data_builder.problems.extraction import extract_program

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The answers {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = json.loads(line)
            problem_id, completion = answer["problem_id"], answer["completion"]
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object with problem_id and completion.") from error
        if problem_id not in problems or not isinstance(completion, str):
            raise DataError(f"{path}, line {number}: there is no problem {problem_id!r}, or the completion is not text.")
        yield number, problems[problem_id], extract_program(completion)


def _print_summary(verdicts: list[Verdict], judge: Judge) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("status", "answers", title=f"{len(verdicts)} answers, isolation '{judge.isolation}'")
    for status, count in Counter(verdict.status for verdict in verdicts).most_common():
        table.add_row(status, str(count))
    failures = Table("problem", "status", "test", "input", "expected", "got", "error")
    for verdict in verdicts:
        if verdict.failure is not None:
            shown = verdict.failure
            cells = (shown.input, shown.expected, shown.got, shown.error)
            failures.add_row(verdict.problem_id, shown.status, str(shown.index), *(repr(cell[:40])[1:-1] for cell in cells))
    console = Console()
    console.print(table)
    if failures.rows:
        console.print(failures, markup=False)


def _selftest(isolation: Any, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..data_builder.judge.attacks import ATTACKS, run_attacks
    from ..data_builder.judge.isolation import LEVELS, available_levels, choose_isolation, why_unavailable

    levels = available_levels() if isolation == "auto" else (choose_isolation(isolation),)
    results: dict[tuple[str, str], AttackResult] = {}
    for level in levels:
        for result in run_attacks(level):
            results[result.attack.name, level] = result
            if as_json:
                row = {"attack": result.attack.name, "isolation": level, "held": result.held, "escapes": result.escapes}
                click.echo(json.dumps({**row, "status": result.verdict.status}))
    if not as_json:
        table = Table("attack", *levels, title="What happened to hostile programs")
        for attack in ATTACKS:
            table.add_row(attack.name, *(_outcome(results[attack.name, level]) for level in levels))
        console = Console()
        console.print(table)
        for level in LEVELS[:-1]:
            if level not in levels:
                console.print(f"{level}: not run; {why_unavailable(level) or 'another level was asked for'}")
        held = sum(result.held for result in results.values())
        false_passes = sum(result.verdict.passed for result in results.values())
        console.print(f"{held} of {len(results)} held, {false_passes} false passes")
    if any(result.verdict.passed or (result.isolation == "full" and not result.held) for result in results.values()):
        raise SystemExit(1)


def _outcome(result: AttackResult) -> str:
    if result.verdict.passed:
        return "FALSE PASS"
    return "; ".join(result.escapes) or f"held ({result.verdict.status})"
