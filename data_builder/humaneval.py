"""HumanEval (Chen et al. 2021): original fields; all of it is a test split."""

from __future__ import annotations

import ast

from .problem import AssertTest, Problem
from .records import Record, RecordError, text_field


def problem_from_record(record: Record, where: str) -> Problem:
    """One record as a problem with a single `AssertTest`: its `check` function, called with the entry point."""
    task = text_field(record, "task_id", where)
    prompt, entry_point = text_field(record, "prompt", where), text_field(record, "entry_point", where)
    check = text_field(record, "test", where)
    return Problem(
        id=f"humaneval/{task.rpartition('/')[2]}",
        statement=f"Complete this Python function.\n\n```python\n{prompt.strip()}\n```",
        source="humaneval",
        entry_point=entry_point,
        tests=(AssertTest(f"{prompt_preamble(prompt, entry_point, where)}\n{check}\ncheck({entry_point})\n"),),
        solutions=(prompt + text_field(record, "canonical_solution", where),),
    )


def prompt_preamble(prompt: str, entry_point: str, where: str) -> str:
    """The imports and functions that stand in the prompt before the entry point, with their bodies.

    The original harness runs prompt + completion. An answer in chat need not repeat them, while its code and the check may use
    them.
    """
    try:
        statements = ast.parse(prompt).body
    except SyntaxError as error:
        raise RecordError(f"{where}: 'prompt' must be Python ({error}).") from error
    before = [node for node in statements if not (isinstance(node, ast.FunctionDef) and node.name == entry_point)]
    if len(before) == len(statements):
        raise RecordError(f"{where}: 'prompt' does not define the entry point {entry_point!r}.")
    return ast.unparse(ast.Module(before, []))
