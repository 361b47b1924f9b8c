"""HumanEval (Chen et al. 2021): original fields; all of it is a test split."""

from __future__ import annotations

import ast

from .problem import AssertTest, Problem
from .records import Record, RecordError, text_field
from .syntax import parse


def problem_from_record(record: Record, where: str) -> Problem:
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
    use them. Raises RecordError.
    """
    try:
        statements = parse(program).body
    except (SyntaxError, ValueError) as error:
        raise RecordError(f"{where}: 'prompt' and 'canonical_solution' must be Python ({error}).") from error
    for number, node in enumerate(statements):
        if isinstance(node, ast.FunctionDef) and node.name == entry_point:
            return ast.unparse(ast.Module(statements[:number], []))
    raise RecordError(f"{where}: 'prompt' does not define the entry point {entry_point!r}.")
