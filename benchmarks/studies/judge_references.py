"""Does the judge accept what is right and reject what is wrong? Reference solutions, mutants of them and degenerate answers.

python -m guided_gen.benchmarks.studies.judge_references            all parts, a table
python -m guided_gen.benchmarks.studies.judge_references --json     the numbers, with every reference that was not accepted
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from ...data_builder.judge.judge import Judge
from ...data_builder.judge.verdict import Verdict
from ...data_builder.problems.asserts import as_call_based
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import CallTest, Problem, StdinTest
from ...data_builder.problems.syntax import parse
from .mutants import KINDS, mutants

DEGENERATE_PROBLEMS = 200


@dataclass
class Share:
    """`count` of `total`, with the exceptions: (problem id, why)."""

    name: str
    count: int = 0
    total: int = 0
    exceptions: list[tuple[str, str]] = field(default_factory=list)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@click.option("--workers", default=2, show_default=True)
@click.option("--isolation", default="auto", show_default=True)
@click.option("--limit", type=int, help="Only this many problems of each source, drawn at random.")
def main(as_json: bool, workers: int, isolation: Any, limit: int | None) -> None:
    """Judge reference solutions, their mutants and degenerate answers."""
    rng = random.Random(0)

    def some(problems: list[Problem]) -> list[Problem]:
        return problems if limit is None or len(problems) <= limit else rng.sample(problems, limit)

    apps_train = load_problems("apps", split="train")
    apps = [*apps_train, *load_problems("apps", split="validation"), *load_problems("apps", split="test")]
    verified = some([problem for problem in apps if problem.verified == "pass" and problem.solutions])
    asserts = {"MBPP": some(load_problems("mbpp")), "HumanEval": some(load_problems("humaneval"))}
    called = {name: [call for problem in problems if (call := as_call_based(problem))] for name, problems in asserts.items()}
    with Judge(isolation, workers=workers, stop_at_first_failure=True) as judge:
        shares = [accepted_references(judge, "APPS verified: pass", verified)]
        shares += [accepted_references(judge, f"{name}, asserts", problems) for name, problems in asserts.items()]
        shares += [accepted_references(judge, f"{name}, as calls", problems) for name, problems in called.items()]
        shares += caught_mutants(judge, "MBPP and HumanEval calls", [*called["MBPP"], *called["HumanEval"]], rng)
        shares += caught_mutants(judge, "APPS full tests", [problem for problem in verified if problem.tests_kind == "full"], rng)
        shares += passing_degenerates(judge, rng.sample(apps_train, min(DEGENERATE_PROBLEMS, len(apps_train))))
        level = judge.isolation
    if as_json:
        click.echo(json.dumps({"isolation": level, "shares": [vars(share) for share in shares]}))
        return
    table = Table("what", "count", "of", "share", title=f"Judge at isolation '{level}'")
    for share in shares:
        table.add_row(share.name, str(share.count), str(share.total), f"{share.count / max(1, share.total):.1%}")
    console = Console()
    console.print(table)
    for share in shares:
        if share.exceptions and "accepted" in share.name:
            causes = Counter(cause.split(":")[0] for _, cause in share.exceptions)
            console.print(share.name, dict(causes))
            for problem_id, cause in share.exceptions:
                console.print(f"  {problem_id}: {cause[:160]}", markup=False, highlight=False)


def accepted_references(judge: Judge, name: str, problems: Iterable[Problem]) -> Share:
    """The share of problems of which one reference solution passes all tests; for the others, why the first did not."""
    share = Share(f"{name}: reference accepted")
    left = [(problem, 0) for problem in problems if problem.tests]
    share.total = len(left)
    first: dict[str, Verdict] = {}
    while left:
        again = []
        items = (((problem, number), problem, problem.solutions[number]) for problem, number in left)
        for (problem, number), verdict in judge.judge_many(items):
            first.setdefault(problem.id, verdict)
            if verdict.passed:
                share.count += 1
            elif number + 1 < len(problem.solutions):
                again.append((problem, number + 1))
            else:
                share.exceptions.append((problem.id, _cause(first[problem.id])))
        left = again
    return share


def caught_mutants(judge: Judge, name: str, problems: list[Problem], rng: random.Random) -> list[Share]:
    """By kind, the share of mutants of accepted references that fail."""
    correct = [(problem, problem.solutions[0]) for problem in problems]
    accepted = {
        verdict.problem_id
        for _, verdict in judge.judge_many((problem.id, problem, text) for problem, text in correct)
        if verdict.passed
    }
    shares = {kind: Share(f"{name}: mutants caught, {kind}") for kind in KINDS}
    items = [
        ((kind, problem.id), problem, mutant)
        for problem, text in correct
        if problem.id in accepted and _parses(text)
        for kind, mutant in mutants(text, rng)
    ]
    for (kind, problem_id), verdict in judge.judge_many(items):
        shares[kind].total += 1
        if verdict.passed:
            shares[kind].exceptions.append((problem_id, "passed"))
        else:
            shares[kind].count += 1
    return list(shares.values())


def passing_degenerates(judge: Judge, problems: list[Problem]) -> list[Share]:
    """The share of problems that an answer without thought passes: None, the input, or the first test's expected output."""
    shares = {kind: Share(f"APPS train: passed by {kind}", total=len(problems)) for kind in ("None", "the input", "a constant")}
    items = [((kind, problem.id), problem, text) for problem in problems for kind, text in _degenerate_answers(problem).items()]
    for (kind, problem_id), verdict in judge.judge_many(items):
        if verdict.passed:
            shares[kind].count += 1
            shares[kind].exceptions.append((problem_id, "passed"))
    return list(shares.values())


def _degenerate_answers(problem: Problem) -> dict[str, str]:
    test = problem.tests[0]
    if isinstance(test, StdinTest):
        return {
            "None": "print(None)",
            "the input": "import sys\nprint(sys.stdin.read())",
            "a constant": f"print({test.expected!r})",
        }
    assert isinstance(test, CallTest)
    head = f"def {problem.entry_point}(*args):\n    return "
    return {"None": head + "None", "the input": head + "args[0] if args else None", "a constant": head + repr(test.expected)}


def _parses(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, ValueError):
        return False
    return True


def _cause(verdict: Verdict) -> str:
    failure = verdict.failure
    assert failure is not None
    if failure.status == "wrong_answer" and not failure.error:
        return f"wrong_answer: expected {failure.expected[:60]!r}, got {failure.got[:60]!r}"
    return f"{failure.status}: {failure.error}"


if __name__ == "__main__":
    main()
