"""The benchmarks whose tests are asserts: MBPP (Austin et al. 2021) and HumanEval (Chen et al. 2021), with their original fields.

MBPP is split by `task_id`, all of HumanEval is a test split.
"""

from __future__ import annotations

import ast

from ...engine.errors import DataError
from .problem import AssertTest, Problem
from .records import Record, text_field
from .syntax import parse

# Appendix A of the paper; 1 to 10 are its few-shot examples.
MBPP_SPLITS = {"test": range(11, 511), "validation": range(511, 601), "train": range(601, 975)}


def mbpp_problem(record: Record, where: str) -> Problem:
    """One record as a problem with one `AssertTest` for each assert of `test_list`.

    As in the paper's prompt the statement shows the tests, which alone name the function and its arguments' types: a
    program can therefore be written to fit them. `challenge_test_list` is no part of the benchmark. Raises DataError.
    """
    number, asserts = record.get("task_id"), record.get("test_list")
    if not isinstance(number, int):
        raise DataError(f"{where}: field 'task_id' must be an integer, but is {number!r}.")
    if not isinstance(asserts, list) or not asserts or not all(isinstance(test, str) for test in asserts):
        raise DataError(f"{where}: field 'test_list' must be a list of strings with at least one.")
    asserts = [unix_lines(test).strip() for test in asserts]
    setup = unix_lines(text_field(record, "test_setup_code", where, default=""))
    code = unix_lines(text_field(record, "code", where))
    shown = "\n".join(asserts)
    return Problem(
        id=f"mbpp/{number}",
        statement=f"{unix_lines(text_field(record, 'text', where)).strip()}\n\nYour code should pass these tests:\n\n{shown}",
        source="mbpp",
        entry_point=tested_function(asserts, code, where),
        tests=tuple(AssertTest(f"{setup}\n{test}" if setup else test) for test in asserts),
        solutions=(code,),
    )


def in_mbpp_split(problem: Problem, split: str) -> bool:
    """Whether the problem belongs to the official split "train", "validation" or "test"."""
    return int(problem.id.removeprefix("mbpp/")) in MBPP_SPLITS[split]


def unix_lines(text: str) -> str:
    """MBPP's code has carriage returns."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def tested_function(asserts: list[str], code: str, where: str) -> str:
    """The function that the first assert calls and the reference defines: it may stand inside another call, as in `set(f(x))`.
    Raises DataError.
    """
    try:
        defined = {node.name for node in parse(code).body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        calls = [node.func for node in ast.walk(parse(asserts[0])) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{where}: 'code' and 'test_list' must be Python ({error}).") from error
    names = [call.id for call in calls if isinstance(call, ast.Name) and call.id in defined]
    if not names:
        raise DataError(f"{where}: the first test calls no function that 'code' defines.")
    return names[0]


def humaneval_problem(record: Record, where: str) -> Problem:
    """One record as a problem with a single `AssertTest`: its `check` function, called with the entry point."""
    task = text_field(record, "task_id", where)
    prompt, entry_point = text_field(record, "prompt", where), text_field(record, "entry_point", where)
    check = text_field(record, "test", where)
    solution = prompt + text_field(record, "canonical_solution", where)
    return Problem(
        id=f"humaneval/{task.rpartition('/')[2]}",
        statement=f"Complete this Python function.\n\n```python\n{prompt.strip()}\n```",
        source="humaneval",
        entry_point=entry_point,
        tests=(AssertTest(f"{prompt_preamble(solution, entry_point, where)}\n{check}\ncheck({entry_point})\n"),),
        solutions=(solution,),
    )


def prompt_preamble(program: str, entry_point: str, where: str) -> str:
    """The imports and functions that stand before the entry point in `program` (prompt and solution), with their bodies.

    The original harness runs prompt + completion. An answer in chat need not repeat them, while its code and the check may
    use them. Raises DataError.
    """
    try:
        statements = parse(program).body
        for number, node in enumerate(statements):
            if isinstance(node, ast.FunctionDef) and node.name == entry_point:
                return ast.unparse(ast.Module(statements[:number], []))
    except (SyntaxError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: 'prompt' and 'canonical_solution' must be Python ({error}).") from error
    raise DataError(f"{where}: 'prompt' does not define the entry point {entry_point!r}.")
