"""What a generator can be asked: a problem, a chat, or a text to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .data_builder.problems.plain_text import problem_from_statement
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import PromptTemplate, prompt_ids
from .engine.errors import ContextError, ModelError, SettingsError
from .engine.language_model import LanguageModel, Prompt

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Continuation:
    """Text, or token ids, that the model goes on with: no chat template, no examples to run."""

    start: str | tuple[int, ...]


@dataclass(frozen=True)
class Chat:
    """The messages of a conversation, each with `role` and `content`. `problem`: whose examples answers are run on. `tools`, in
    OpenAI's form, are those that answers may call. An answer goes on with the last message where that is the assistant's own.
    """

    messages: Messages
    problem: Problem | None = None
    tools: Messages = ()

    @property
    def begun(self) -> str:
        """What of the answer is there already."""
        last = self.messages[-1] if self.messages else {}
        own = last.get("role") == "assistant" and not last.get("tool_calls")
        return str(last.get("content") or "") if own else ""


Question = Problem | Chat | Continuation
QuestionLike = Question | str | Messages


def as_question(asked: QuestionLike) -> Question:
    """A statement as the problem that it describes, messages as a chat; a question as it is. Raises SettingsError."""
    if isinstance(asked, str):
        return problem_from_statement(asked, "text/problem")
    if isinstance(asked, Question):
        return asked
    if isinstance(asked, list | tuple) and all(isinstance(message, Mapping) for message in asked):
        return Chat(asked)
    raise SettingsError(
        f"a question is a statement, a Problem, a Continuation, or a chat's messages with role and content; not {asked!r:.80}"
    )


def problem_of(question: Question) -> Problem | None:
    """The problem whose printed examples finished answers are run on, if there is one."""
    if isinstance(question, Chat):
        return question.problem
    return question if isinstance(question, Problem) else None


def goes_on(question: Question) -> bool:
    """Whether an answer goes on with a text, so that it does not begin as a text of its own."""
    return isinstance(question, Continuation) or (isinstance(question, Chat) and bool(question.begun))


def question_prompt(
    model: LanguageModel, tokenizer: Any, question: Question, template: PromptTemplate, max_tokens: int | None = None
) -> Prompt:
    """The prompt in the model's own tokens, and in those of its reader if it has one.

    Raises ContextError, and never cuts, where it has more than `max_tokens`; SettingsError where it is empty, or the model's chat
    template does not take it.
    """
    reader = model.reader_tokenizer
    try:
        ids = question_ids(tokenizer, question, template, max_tokens)
    except ContextError as error:
        raise ContextError(f"{error}; {model.limit} holds {model.max_length}") from error
    return Prompt(ids, None if reader is None else question_ids(reader, question, template))


def question_ids(tokenizer: Any, question: Question, template: PromptTemplate, max_tokens: int | None = None) -> list[int]:
    """The prompt's token ids. Raises as `question_prompt`."""
    if isinstance(question, Problem):
        return prompt_ids(tokenizer, question, template, max_tokens)
    if isinstance(question, Chat):
        try:
            begun = question.begun
            messages = [dict(message) for message in question.messages][: -1 if begun else None]
            ids: list[int] = tokenizer.apply_chat_template(messages, True, question.tools, begun)
        except (ModelError, TypeError, ValueError) as error:
            raise SettingsError(str(error)) from error
    elif isinstance(question.start, str):
        ids = tokenizer(question.start)["input_ids"]
    else:
        ids = list(question.start)
        if any(not 0 <= token < len(tokenizer) for token in ids):
            raise SettingsError(f"a token id is not in this model's vocabulary of {len(tokenizer)}")
    if not ids:
        raise SettingsError("the prompt is empty")
    if max_tokens is not None and len(ids) > max_tokens:
        raise ContextError(f"the prompt has {len(ids)} tokens, but only {max(max_tokens, 0)} fit")
    return ids
