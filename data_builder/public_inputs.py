"""What the programs for a problem are run on beside its tests: the statement's examples, and inputs without results.

Inputs without results are made from the examples by small changes, and are calls that the programs themselves make: a generator
writes them without being asked. Never read are the problem's tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .judge.executions import Input
from .problems.examples import printed_examples
from .problems.made_inputs import made_inputs
from .problems.problem import CallTest, Problem, StdinTest
from .problems.written_calls import written_calls

MOST_EXAMPLES = 8
MOST_MADE = 4
MOST_WRITTEN = 8


@dataclass(frozen=True)
class PublicInputs:
    """`examples` come first, then `made`: inputs without results, the statement's before those that programs wrote."""

    examples: tuple[CallTest | StdinTest, ...] = ()
    made: tuple[Input, ...] = ()

    def __len__(self) -> int:
        return len(self.examples) + len(self.made)


def made_and_known(problem: Problem, examples: Sequence[CallTest | StdinTest]) -> tuple[Sequence[Input], set[str]]:
    """(inputs made from the examples, the `repr` of all arguments known by then): a written call that is known adds nothing."""
    made = made_inputs(problem, examples, MOST_MADE)
    return made, {repr(test.args) for test in examples if isinstance(test, CallTest)} | set(map(repr, made))


def public_inputs(problem: Problem, programs: Sequence[str], counts: Sequence[int]) -> tuple[PublicInputs, np.ndarray]:
    """(inputs, writers): `writers` [programs, inputs] says which programs wrote an input, none of them an input of the statement.

    Of written inputs those are taken that most programs wrote; `counts`: how often each program was drawn.
    """
    examples = statement_examples(problem)[:MOST_EXAMPLES]
    made, known = made_and_known(problem, examples)
    written: dict[str, tuple[Input, list[int]]] = {}
    if problem.entry_point is not None:
        for row, program in enumerate(programs):
            for args in written_calls(program, problem.entry_point):
                if repr(args) not in known:
                    written.setdefault(repr(args), (args, []))[1].append(row)
    votes = np.asarray(counts, np.int64)
    chosen = sorted(written.values(), key=lambda one: -int(votes[one[1]].sum()))[:MOST_WRITTEN]
    inputs = PublicInputs(examples, (*made, *(args for args, _ in chosen)))
    writers = np.zeros((len(programs), len(inputs)), bool)
    for i, (_, rows) in enumerate(chosen, start=len(examples) + len(made)):
        writers[rows, i] = True
    return inputs, writers


def statement_examples(problem: Problem) -> tuple[CallTest | StdinTest, ...]:
    """The examples that the statement prints, read from its text alone."""
    return tuple(example.test for example in printed_examples(problem))
