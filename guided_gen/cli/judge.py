"""`guided-gen judge`: verdicts for a file of answers, or the attack suite on this machine."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import DataError

if TYPE_CHECKING:
    from ..data_builder.judge.attack_suite import AttackResult
    from ..data_builder.judge.verdict import Verdict
    from ..data_builder.problems.problem import Problem


COLUMNS = ("line", "status", "problem", "test", "input", "expected", "got", "error")
"""Of the verdicts in a pipe."""


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

    In a terminal a verdict is a few lines, in a pipe a tab-separated row.

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
    statuses: Counter[str] = Counter()
    is_terminal = sys.stdout.isatty()
    if not as_json and not is_terminal:
        click.echo("\t".join(COLUMNS))
    with Judge(isolation, workers=workers) as judge:
        try:
            for line, verdict in judge.judge_many(items):
                statuses[verdict.status] += 1
                if as_json:
                    click.echo(json.dumps({"line": line, **asdict(verdict)}))
                else:
                    click.echo(_told(line, verdict) if is_terminal else _row(line, verdict))
        finally:
            if not as_json:
                counts = ", ".join(f"{count} {status}" for status, count in statuses.most_common())
                click.echo(f"{'' if is_terminal else '# '}{statuses.total()} answers: {counts} (isolation: {judge.isolation})")


def _read_answers(path: Path, problems: dict[str, Problem]) -> Iterator[tuple[int, Problem, str]]:
    """(line number, problem, program) for each answer; the program is extracted from the completion."""
    from ..data_builder.problems.extraction import extract_program

    try:
        lines = path.read_bytes().decode("utf-8").split("\n")  # a line of JSON may hold the other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The answers {path} cannot be read: {error}.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            answer = json.loads(line)
            problem_id, completion = answer["problem_id"], answer["completion"]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not a JSON object with problem_id and completion.") from error
        if not isinstance(problem_id, str) or problem_id not in problems or not isinstance(completion, str):
            raise DataError(f"{path}, line {number}: there is no problem {problem_id!r}, or the completion is not text.")
        yield number, problems[problem_id], extract_program(completion)


def _row(line: int, verdict: Verdict) -> str:
    """A verdict as one row of tab-separated `COLUMNS`; texts are written as in Python, without tabs and ends of lines."""
    failure = verdict.failure
    texts = [failure.input, failure.expected, failure.got, failure.error] if failure else [""] * 4
    index = str(failure.index) if failure else ""
    return "\t".join([str(line), verdict.status, verdict.problem_id, index, *(repr(text) if text else "" for text in texts)])


def _told(line: int, verdict: Verdict) -> str:
    """A verdict in one line, and a failure in a few more, each cut to the width of the terminal."""
    rows = [f"{line:>6}  {verdict.status:<12}  {verdict.problem_id}"]
    failure = verdict.failure
    if failure is not None:
        parts = {"input": failure.input, "expected": failure.expected, "got": failure.got, "error": failure.error}
        told = [f"{name}: {text!r}" for name, text in parts.items() if text]
        rows += [f"{'':8}test {failure.index}, {told[0]}" if told else f"{'':8}test {failure.index}"]
        rows += [f"{'':8}{part}" for part in told[1:]]
    columns = shutil.get_terminal_size().columns
    return "\n".join(row if len(row) <= columns else f"{row[: columns - 3]}..." for row in rows)


def _selftest(isolation: Any, as_json: bool) -> None:
    from ..data_builder.judge.attack_suite import ATTACKS, run_attacks
    from ..data_builder.judge.isolation import LEVELS, available_levels, choose_isolation, why_unavailable

    levels = available_levels() if isolation == "auto" else (choose_isolation(isolation),)
    results: list[AttackResult] = []
    for attack in ATTACKS:
        for level in levels:
            results += run_attacks(level, (attack,))
            if as_json:
                result = results[-1]
                row = {"attack": attack.name, "isolation": level, "held": result.held, "escapes": result.escapes}
                click.echo(json.dumps({**row, "status": result.verdict.status}))
        if not as_json:
            click.echo(_attack(attack.name, results[-len(levels) :]))
    if not as_json:
        for level in LEVELS[:-1]:
            if level not in levels:
                click.echo(f"{level}: not run; {why_unavailable(level) or 'another level was asked for'}")
        held, false_passes = sum(result.held for result in results), sum(result.false_pass for result in results)
        click.echo(f"{held} of {len(results)} held, {false_passes} false passes")
        click.echo(f"Other threads stood still for {max(result.standstill for result in results):.2f} s at most.")
    if any(result.false_pass or (result.isolation == "full" and not result.held) for result in results):
        raise SystemExit(1)


def _attack(name: str, results: list[AttackResult]) -> str:
    """An attack at each level, tab-separated in a pipe; below it what got out."""
    cells = [
        f"{result.isolation} {'FALSE PASS' if result.false_pass else 'held' if result.held else 'OUT'}" for result in results
    ]
    is_terminal = sys.stdout.isatty()
    out = [f"{'  ' if is_terminal else '# '}{result.isolation}: {escape}" for result in results for escape in result.escapes[:3]]
    return "\n".join([f"{name:<34} {', '.join(cells)}" if is_terminal else "\t".join([name, *cells]), *out])
