"""How many of the examples that a statement prints are read, and how many of those read are wrong.

    python -m guided_gen.benchmarks.studies.examples_recall [LABELS]

150 train problems of APPS were read by two people, independently and before the parser was rewritten; their labels, by problem
number, are in `example_labels.json`: for each example the lines of the statement that it stands in and a digest, no text. An
example counts as read if its digest is the label's, and as wrong if no label of its problem has it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data_builder.problems.examples import printed_examples
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import CallTest, Problem, StdinTest

LABELS = Path(__file__).with_name("example_labels.json")
KINDS = ("standard input", "method", "function")


@dataclass(frozen=True)
class Reading:
    """Of one problem: the labels that were read and those that were not, by lines, and how many examples no label has."""

    number: int
    kind: str
    found: list[tuple[int, int]]
    missed: list[tuple[int, int]]
    wrong: int


def main(path: Path = LABELS) -> None:
    """Print a table by kind of problem, then the problems with a missed or a wrong example."""
    readings = read_labelled(json.loads(path.read_text(encoding="utf-8"))["examples"])
    print(f"{'':16}problems  labelled  read  recall  wrong  of what is read")
    for kind in (*KINDS, "all"):
        print(_row(kind, [reading for reading in readings if kind in (reading.kind, "all")]))
    for reading in readings:
        if reading.missed or reading.wrong:
            lines = ", ".join(f"{first} to {last}" for first, last in reading.missed) or "none"
            print(f"{reading.number} ({reading.kind}): missed in lines {lines}; {reading.wrong} wrong")


def read_labelled(labels: dict[str, list[dict[str, Any]]]) -> list[Reading]:
    """What is read of each labelled problem of the train split."""
    numbered = {problem.id.rpartition("/")[2]: problem for problem in load_problems("apps", "train")}
    return [_reading(numbered[number], labelled) for number, labelled in labels.items()]


def digest(test: StdinTest | CallTest) -> str:
    """SHA-256 of an example in a form that is the same for what the judge takes as equal.

    Sequences are lists, a float without a fraction is an integer, and lines end without white space.
    """
    if isinstance(test, StdinTest):
        shown = [_lines(test.stdin), _lines(test.expected)]
    else:
        shown = [_canonical(test.args), _canonical(test.expected)]
    return hashlib.sha256(repr(shown).encode("utf-8", "surrogatepass")).hexdigest()


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().split("\n")]


def _canonical(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, set):
        return {"set": sorted(repr(_canonical(item)) for item in value)}
    if isinstance(value, dict):
        return sorted((repr(_canonical(key)), repr(_canonical(item))) for key, item in value.items())
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _reading(problem: Problem, labelled: list[dict[str, Any]]) -> Reading:
    read = {digest(example.test) for example in printed_examples(problem)}
    wanted = {label["sha256"]: tuple(label["lines"]) for label in labelled}
    return Reading(
        int(problem.id.rpartition("/")[2]),
        _kind(problem),
        [lines for key, lines in wanted.items() if key in read],
        [lines for key, lines in wanted.items() if key not in read],
        len(read - set(wanted)),
    )


def _kind(problem: Problem) -> str:
    if problem.entry_point is None:
        return KINDS[0]
    return KINDS[1] if "class Solution" in problem.starter_code else KINDS[2]


def _row(name: str, readings: list[Reading]) -> str:
    counts: Counter[str] = Counter()
    for reading in readings:
        counts.update(found=len(reading.found), missed=len(reading.missed), wrong=reading.wrong)
    labelled, read = counts["found"] + counts["missed"], counts["found"] + counts["wrong"]
    recall, wrong = counts["found"] / max(labelled, 1), counts["wrong"] / max(read, 1)
    return f"{name:16}{len(readings):8}  {labelled:8}  {read:4}  {recall:6.3f}  {counts['wrong']:5}  {wrong:15.3f}"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
