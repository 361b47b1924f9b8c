"""What a generator can be asked: a problem, a chat, or a text to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from .data_builder.problems.plain_text import problem_from_statement
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import PromptTemplate, PromptTooLongError, prompt_ids
from .engine.errors import GuidedGenError
from .engine.language_model import LanguageModel, Prompt

Chat = Sequence[Mapping[str, Any]]


class QuestionError(GuidedGenError):
    """A chat that the model's chat template does not take, or an empty question."""


@dataclass(frozen=True)
class Continuation:
    """Text, or token ids, that the model goes on with: no chat template, no examples to run."""

    start: str | tuple[int, ...]


@dataclass(frozen=True)
class ChatQuestion:
    """The messages of a conversation, each with `role` and `content`. `problem`: whose examples answers are run on."""

    messages: Chat
    problem: Problem | None = None


Understood = Problem | ChatQuestion | Continuation
Question = Understood | str | Chat


def understood(question: Question) -> Understood:
    """A statement as the problem that it describes, messages as a chat; anything else as it is."""
    if isinstance(question, str):
        return problem_from_statement(question, "text/problem")
    if isinstance(question, Understood):
        return question
    return ChatQuestion(question)


def examples_of(question: Understood) -> Problem | None:
    """The problem whose printed examples finished answers are run on, if there is one."""
    if isinstance(question, ChatQuestion):
        return question.problem
    return question if isinstance(question, Problem) else None


def question_ids(tokenizer: Any, question: Understood, template: PromptTemplate, max_tokens: int | None = None) -> list[int]:
    """The prompt's token ids. Raises PromptTooLongError, never cuts, where they are more than `max_tokens`; QuestionError."""
    if isinstance(question, Problem):
        return prompt_ids(tokenizer, question, template, max_tokens)
    if isinstance(question, ChatQuestion):
        try:
            messages = [dict(message) for message in question.messages]
            ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        except (TemplateError, TypeError, ValueError, KeyError, IndexError) as error:
            raise QuestionError(f"this model's chat template does not take these messages: {error}") from error
    elif isinstance(question.start, str):
        ids = tokenizer(question.start)["input_ids"]
    else:
        ids = list(question.start)
        if any(not 0 <= token < len(tokenizer) for token in ids):
            raise QuestionError(f"a token id is not in this model's vocabulary of {len(tokenizer)}")
    if not ids:
        raise QuestionError("the prompt is empty")
    if max_tokens is not None and len(ids) > max_tokens:
        raise PromptTooLongError(f"the prompt has {len(ids)} tokens, but only {max(max_tokens, 0)} fit")
    return ids


def question_prompt(
    model: LanguageModel, tokenizer: Any, question: Understood, template: PromptTemplate, max_tokens: int | None = None
) -> Prompt:
    """The prompt in the model's own tokens, and in those of its reader if it has one. Raises as `question_ids`."""
    ids, reader = question_ids(tokenizer, question, template, max_tokens), model.reader_tokenizer
    return Prompt(ids, None if reader is None else question_ids(reader, question, template))
