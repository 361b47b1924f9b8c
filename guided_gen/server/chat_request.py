"""A chat as OpenAI's clients ask for it: messages, tools, the form of the answer."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field, model_validator

from ..data_builder.problems.plain_text import problem_from_statement
from ..engine.grammar import Grammar
from ..generator import GuidedGenerator
from ..question import Chat
from .errors import ApiError
from .json_answers import ResponseFormat, answer_grammar
from .messages import Messages
from .requests import DialogueRequest
from .tools import MOST_TOOLS, Tool, Toolbox, ToolChoice


class ChatRequest(DialogueRequest):
    messages: Messages
    max_completion_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    logprobs: bool | None = False
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: ToolChoice | None = None

    @model_validator(mode="after")
    def _together(self) -> ChatRequest:
        """Raises ApiError where fields do not go together."""
        if self.top_logprobs and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs", param="top_logprobs")
        if self.tool_choice not in (None, "none", "auto") and not self.tools:
            raise ApiError(400, "tool_choice needs tools", param="tool_choice")
        return self

    @property
    def answer_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def alternatives(self) -> int:
        return self.top_logprobs or 0

    @cached_property
    def toolbox(self) -> Toolbox | None:  # type: ignore[override]
        if not self.tools or self.tool_choice == "none":
            return None
        return Toolbox(self.tools, self.tool_choice, self.parallel_tool_calls is not False)

    def grammar(self, generator: GuidedGenerator) -> Grammar | None:
        plain = self.response_format is None or self.response_format.type == "text"
        if plain and (self.toolbox is None or not self.toolbox.required):
            return None
        return answer_grammar(generator.grammars, self.response_format, self.toolbox)

    def question(self) -> Chat:
        asked = [message.text for message in self.messages if message.role == "user"]
        problem = None
        if self.guided is not None and self.guided.examples and asked and asked[-1].strip():
            problem = problem_from_statement(asked[-1], "chat/problem")
        toolbox = self.toolbox
        return Chat([message.as_dict() for message in self.messages], problem, () if toolbox is None else toolbox.offered)
