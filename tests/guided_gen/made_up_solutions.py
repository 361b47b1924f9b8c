"""Solutions that no model wrote, and a generator that finds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from guided_gen.data_builder.judge.verdict import FailedTest
from guided_gen.data_builder.problems.problem import CallTest, Problem
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.solution import Candidate, Progress, Solution, Solved, is_python

DOUBLE = Problem(
    "text/problem", "Double it.", "file", entry_point="double", tests=(CallTest((2,), 4), CallTest((0,), 0)), tests_kind="example"
)
WRONG = FailedTest(0, "wrong_answer", "(2,)", "", "4", "5", "")


def candidate(
    program: str, score: float = 0.5, examples: tuple[int, int] | None = (2, 2), ended: Ended = Ended.EOS, **more: Any
) -> Candidate:
    text, numbers = f"```python\n{program}\n```", np.zeros(2)
    return Candidate(text, np.arange(2), numbers, numbers, score, ended, 1, examples, 0, parses=is_python(program), **more)


def solution(*candidates: Candidate, problem: Problem | None = DOUBLE) -> Solution:
    tree = Tree.below([1, 2], {"problem": "text/problem"})
    node = tree.add_node(tree.add_node(ROOT, 5, logprob=-0.1), 6, logprob=-0.2)
    tree.add_rollout(node, ROOT, Ended.EOS, 0)
    return Solution(list(candidates), tree, 2, 2, 1.0, "none", problem)


@dataclass
class MadeUpSolving:
    found: Solution

    def __iter__(self) -> Iterator[Any]:
        yield Progress(1, 1, 2, 0.5, 0.5)
        yield Solved(self.found)

    def cancel(self) -> None: ...


@dataclass
class MadeUpGenerator:
    """`asked`: the question and settings of its last search."""

    found: Solution
    asked: Any = None

    def __enter__(self) -> MadeUpGenerator:
        return self

    def __exit__(self, *_: object) -> None: ...

    def stream(self, question: Any, settings: Any, **changes: Any) -> MadeUpSolving:
        self.asked = question, settings, changes
        return MadeUpSolving(self.found)
