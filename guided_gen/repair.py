"""Repair: the best program of a search, which fails an example, is shown to the model with that example, as the chat's next turn.

The turn is a search of its own below the same prompt, the answer and what is said of it. The search has kept the keys and values
of prompt and answer, so that only what is new is read. Its candidates are run and ranked as the first ones are, and join them.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from .answer_text import AnswerText
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import prompt_messages
from .engine.errors import ContextError
from .failed_example import failure_rows
from .question import Chat
from .solution import Candidate, Solution
from .solving import Solving

ASKED = "Answer with the complete corrected solution in one ```python code block and nothing else."


def repairing(solving: Solving, solution: Solution, n: int) -> Solving | None:
    """The search for `n` corrected answers, after `solving` found `solution`; None where the best program fails no example, the
    budget is spent, or the turn does not fit the context.
    """
    asked, settings = solving.asked, solving.settings
    budget = None if settings.budget is None else settings.budget - solution.decoded_tokens
    turn = None if budget is not None and budget < 1 else repair_turn(solving, solution.best)
    if n < 1 or turn is None:
        return None
    text = AnswerText(asked.loaded.tokenizer, solving.text.stops)
    complete = text.stopped if text.stops else None
    again = replace(settings, n=n, most=None, budget=budget, complete=complete)
    found = Solving(solving.scheduler, replace(asked, question=turn), again, text, solving.accept)
    with suppress(ContextError):
        found.read_question()
        return found
    return None


def repair_turn(solving: Solving, best: Candidate) -> Chat | None:
    """The chat with a further turn, which shows the first example that the program of `best` fails; None where it fails none."""
    question, problem = solving.asked.question, solving.problem
    if problem is None or best.failure is None:
        return None
    messages = question.messages if isinstance(question, Chat) else prompt_messages(problem, solving.asked.template)
    said = {"role": "assistant", "content": best.text}
    return Chat([*messages, said, {"role": "user", "content": complaint(problem, best)}], problem)


def complaint(problem: Problem, best: Candidate) -> str:
    """What the user says of a program that fails an example."""
    assert best.failure is not None
    rows = "\n".join(f"{name}: {text.rstrip()}" for name, text in failure_rows(problem, best.failure))
    return f"This solution is wrong. It fails an example:\n\n{rows}\n\n{ASKED}"


def joined(first: Solution, second: Solution) -> Solution:
    """The candidates of a search and of the repair after it, best first."""
    repaired = [replace(candidate, turn=1) for candidate in second.candidates]
    candidates = sorted([*first.candidates, *repaired], key=lambda candidate: candidate.rank, reverse=True)
    tokens, seconds = first.decoded_tokens + second.decoded_tokens, first.seconds + second.seconds
    return replace(first, candidates=candidates, decoded_tokens=tokens, seconds=seconds, repair=second)
