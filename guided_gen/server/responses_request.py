"""What clients of OpenAI's Responses API send, as the chat that it is."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .chat_request import ChatRequest
from .errors import ApiError
from .json_answers import JsonObject, JsonSchema, NamedSchema, TextFormat
from .requests import DialogueRequest
from .tools import MOST_TOOLS, Function, FunctionName, NamedTool, Tool

ONLY_CHATS = {
    "n": "there is one response; guided.n is the number of candidates",
    "max_tokens": "send max_output_tokens",
}
TEXTS = ("input_text", "output_text", "text", "refusal")


class FlatTool(Function):
    model_config = ConfigDict(extra="ignore")
    type: Literal["function"]


class FlatChoice(FunctionName):
    type: Literal["function"]


class FlatSchema(NamedSchema):
    type: Literal["json_schema"]


class TextSettings(BaseModel):
    """`verbosity` is refused unless it says nothing."""

    model_config = ConfigDict(extra="forbid")
    format: Annotated[TextFormat | JsonObject | FlatSchema, Field(discriminator="type")] | None = None
    verbosity: Literal["medium"] | None = None


class ResponsesRequest(DialogueRequest):
    """`store`: whether a later request may go on from here by `previous_response_id`."""

    input: Annotated[str, Field(min_length=1)] | Annotated[list[dict[str, Any]], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=100)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    tools: Annotated[list[FlatTool], Field(max_length=MOST_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | None = None
    text: TextSettings | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_this_api(cls, data: Any) -> Any:
        """Raises ApiError for the tools that OpenAI's own servers have, and for what only chats take."""
        for name, why in ONLY_CHATS.items():
            if isinstance(data, dict) and data.get(name) is not None:
                raise ApiError(400, f"{name} is not supported here: {why}", param=name, code="unsupported_parameter")
        for tool in data.get("tools") or () if isinstance(data, dict) and isinstance(data.get("tools"), list) else ():
            kind = tool.get("type") if isinstance(tool, dict) else None
            if isinstance(kind, str) and kind != "function":
                told = f"tools of the type {kind[:50]!r} are not supported: only functions, which the client calls"
                raise ApiError(400, told, param="tools", code="unsupported_parameter")
        return data

    @property
    def wants_logprobs(self) -> bool:
        return "message.output_text.logprobs" in (self.include or ())

    def messages(self) -> list[dict[str, Any]]:
        """The new messages, without the instructions. Raises ApiError."""
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        messages: list[dict[str, Any]] = []
        for item in self.input:
            _add(messages, item)
        return messages

    def chat(self, earlier: list[dict[str, Any]]) -> ChatRequest:
        """The request as one for a chat that goes on from `earlier` messages. Raises ApiError, ValidationError."""
        told = [{"role": "system", "content": self.instructions}] if self.instructions else []
        tools = [Tool(type="function", function=tool) for tool in self.tools or ()]
        choice: Any = self.tool_choice
        if isinstance(choice, FlatChoice):
            choice = NamedTool(type="function", function=choice)
        shared = {name: getattr(self, name) for name in DialogueRequest.model_fields if name in self.model_fields_set}
        asked = {
            "messages": [*told, *earlier, *self.messages()],
            "max_completion_tokens": self.max_output_tokens,
            "logprobs": self.wants_logprobs or bool(self.top_logprobs),
            "response_format": _format(self.text),
            "tools": tools or None,
            "tool_choice": choice,
        }
        return ChatRequest.model_validate(shared | asked)


def _format(text: TextSettings | None) -> TextFormat | JsonObject | JsonSchema | None:
    wanted = None if text is None else text.format
    return JsonSchema(type="json_schema", json_schema=wanted) if isinstance(wanted, FlatSchema) else wanted


def _add(messages: list[dict[str, Any]], item: dict[str, Any]) -> None:
    """Raises ApiError."""
    kind = item.get("type", "message")
    if kind == "message":
        messages.append({"role": item.get("role"), "content": _text(item.get("content"))})
    elif kind == "function_call":
        call = {"id": item.get("call_id") or "", "function": {"name": item.get("name"), "arguments": item.get("arguments", "{}")}}
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": None})
        messages[-1].setdefault("tool_calls", []).append(call)
    elif kind == "function_call_output":
        messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _text(item.get("output"))})
    elif kind != "reasoning":
        told = f"input items of the type {str(kind)[:50]!r} are not supported: only messages, function calls and their outputs"
        raise ApiError(400, told, param="input", code="unsupported_content")


def _text(content: Any) -> str:
    """Raises ApiError where there is anything else than text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return "" if content is None else json.dumps(content)
    for part in content:
        if not isinstance(part, dict) or part.get("type") not in TEXTS:
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ApiError(
                400, f"{str(kind)[:50]} is not supported: the model reads text", param="input", code="unsupported_content"
            )
    return "".join(str(part.get("text", "")) for part in content)
