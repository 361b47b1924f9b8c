"""Prompts: a problem and a named template make chat messages, and these, in the model's own chat template, token ids."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from typing import Any

from ...engine.errors import ContextError, GuidedGenError
from .problem import Problem


@dataclass(frozen=True)
class PromptTemplate:
    """How to ask. The fields after `name` may hold {statement}, {interface} (`user`), {name} and {starter} (the interfaces)."""

    name: str
    system: str
    user: str
    function: str = "Write a Python function named `{name}`. Return the result, do not print it."
    function_with_starter: str = "Complete this function. Return the result, do not print it.\n\n```python\n{starter}\n```"
    method_with_starter: str = (
        "Complete the method `{name}` of this class. Return the result, do not print it.\n\n```python\n{starter}\n```"
    )
    program: str = "Write a Python program that reads its input from standard input and prints the answer to standard output."
    program_with_starter: str = (
        "Write a Python program that reads its input from standard input and prints the answer to standard output. "
        "It starts from this code:\n\n```python\n{starter}\n```"
    )

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with any word of the template: datasets and value models name it by them."""
        return hashlib.sha256(json.dumps(astuple(self)[1:]).encode()).hexdigest()[:12]


SYSTEM = "You are an expert Python programmer."

# The paper's: a short plan first.
PLAN = PromptTemplate(
    name="plan",
    system=SYSTEM,
    user=(
        "{statement}\n\n{interface}\n\n"
        "First write a short plan of at most three sentences. Then write the complete solution in one ```python code block."
    ),
)
CODE = PromptTemplate(
    name="code",
    system=SYSTEM,
    user="{statement}\n\n{interface}\n\nAnswer with the complete solution in one ```python code block and nothing else.",
)
TEMPLATES = {template.name: template for template in (PLAN, CODE)}
DEFAULT_TEMPLATE = CODE


def template_named(name: str) -> PromptTemplate:
    """The template called `name`. Raises `GuidedGenError` for an unknown name."""
    if name not in TEMPLATES:
        raise GuidedGenError(f"There is no prompt template '{name}': choose one of {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]


def prompt_messages(problem: Problem, template: PromptTemplate = DEFAULT_TEMPLATE) -> list[dict[str, str]]:
    """The chat messages (system, user) that ask for a solution of `problem`."""
    user = template.user.format(statement=problem.statement.strip(), interface=interface(problem, template))
    return [{"role": "system", "content": template.system}, {"role": "user", "content": user}]


def interface(problem: Problem, template: PromptTemplate) -> str:
    """The sentence that says what to write: a function, a method of `class Solution`, or a program on standard input."""
    starter = problem.starter_code.strip()
    if problem.entry_point is None:
        wording = template.program_with_starter if starter else template.program
    elif not starter:
        wording = template.function
    else:
        wording = template.method_with_starter if "class Solution" in starter else template.function_with_starter
    return wording.format(name=problem.entry_point, starter=starter)


def prompt_ids(
    tokenizer: Any, problem: Problem, template: PromptTemplate = DEFAULT_TEMPLATE, max_tokens: int | None = None
) -> list[int]:
    """The prompt's token ids in the tokenizer's chat template, up to and including the header of the assistant's turn.

    Raises `ContextError`, and never cuts, if there are more than `max_tokens` (the model's context less the tokens to generate).
    """
    messages = prompt_messages(problem, template)
    ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    if max_tokens is not None and len(ids) > max_tokens:
        raise ContextError(f"The prompt of {problem.id} has {len(ids)} tokens, but only {max_tokens} fit.")
    return ids
