"""Judge: the complete answers of stored searches on their problems' tests, equal programs once; what a report is made from.

Where examples are asked for, answers are also run on those that the statement prints. That is refused unless the problem is
graded by full tests: elsewhere the grading tests are those examples, and a ranking must never see a grading test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np

from ..data_builder.judge.judge import Judge
from ..data_builder.judge.verdict import Verdict
from ..data_builder.problems.problem import Problem
from ..data_builder.problems.syntax import parses
from ..data_builder.public_inputs import statement_examples
from ..engine.errors import DataError
from ..engine.scorers import PARSES, SCORERS
from ..engine.tree import Ended
from .readings import FULL
from .results import LineFile, RunTrees, key_of, problem_data


def judge_searches(
    lines: Sequence[dict[str, Any]],
    trees: RunTrees,
    problems: Sequence[Problem],
    rankings: Sequence[str],
    judge: Judge,
    written: LineFile,
    *,
    examples: bool = True,
    watch: Callable[[int], None] = lambda done: None,
) -> None:
    """Judge every search in `lines` that `written` has no line of; their answers are scored by all of `rankings`.

    Raises DataError where a problem is missing or is not the one that was searched.
    """
    by_id = {problem.id: problem for problem in problems}
    for done, line in enumerate(lines, start=1):
        if key_of(line) not in written.done:
            problem = by_id.get(line["problem"])
            if problem is None or problem_data(problem) != line["data"]:
                raise DataError(f"the problem {line['problem']} is missing, or is not the one that was searched")
            shown = printed_examples(problem) if examples and problem.tests_kind == FULL else None
            written.add(line if "skipped" in line else _judged(line, trees, problem, shown, rankings, judge))
        watch(done)


def check_examples(tests_kinds: Iterable[str]) -> None:
    """Raise DataError where no problem has full tests."""
    if FULL not in tests_kinds:
        raise DataError("ranking by printed examples is refused: no problem has full tests, so it would see the grading tests")


def printed_examples(problem: Problem) -> Problem:
    """The problem with the examples that its statement prints as its tests. Raises DataError unless it has full tests."""
    if problem.tests_kind != FULL:
        raise DataError(f"the tests of {problem.id} are of the kind {problem.tests_kind}: ranking by examples would see them")
    return replace(problem, id=f"{problem.id}#examples", tests=statement_examples(problem), tests_kind="example")


def _judged(
    line: dict[str, Any],
    trees: RunTrees,
    problem: Problem,
    shown: Problem | None,
    rankings: Sequence[str],
    judge: Judge,
) -> dict[str, Any]:
    tree = trees.load(line["tree"], line["problem"])
    ended = [Ended(one) for one in tree.rollouts.ended.tolist()]
    graded: list[Future[Verdict] | None] = []
    tried: list[Future[Verdict] | None] = []
    for program, end in zip(line["programs"], ended, strict=True):
        whole = end == Ended.EOS
        graded.append(judge.submit(problem, program) if whole else None)
        tried.append(judge.submit(shown, program) if whole and shown is not None and shown.tests else None)
    scores = {name: SCORERS[name](tree) for name in {*rankings, line["guide"]} if name in SCORERS}
    candidates = []
    for row, end in enumerate(ended):
        leaf, verdict, attempt = int(tree.rollouts.leaf[row]), graded[row], tried[row]
        program = line["programs"][row]
        known = {name: found[leaf] for name, found in scores.items()}
        known |= {name: asked[row] for name, asked in line["rankings"].items()}
        known[PARSES] = float(end == Ended.EOS and parses(program))
        candidates.append(
            {
                "program": program,
                "ended": end.name.lower(),
                "multiplicity": int(tree.rollouts.multiplicity[row]),
                "verdict": None if verdict is None else verdict.result().status,
                "examples": None if attempt is None else attempt.result().passed,
                "scores": {name: _number(known[name]) for name in rankings},
                "trace": [_number(score) for score in scores[line["guide"]][tree.path(leaf)].tolist()],
            }
        )
    kept = {name: value for name, value in line.items() if name not in ("programs", "rankings", "tree", "guide")}
    return kept | {
        "trace_of": line["guide"],
        "scorers": list(rankings),
        "examples_seconds": None if shown is None else _seconds(tried),
        "candidates": candidates,
    }


def _seconds(tried: Sequence[Future[Verdict] | None]) -> float:
    """The wall time of running the examples, equal programs once, one after the other."""
    distinct = {id(one): one.result().seconds for one in tried if one is not None}
    return round(sum(distinct.values()), 4)


def _number(score: float | None) -> float | None:
    return None if score is None or np.isnan(score) else round(float(score), 4)
