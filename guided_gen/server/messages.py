"""The messages of a chat as OpenAI's clients send them, and as chat templates read them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .errors import ApiError


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(BaseModel):
    """Other fields than these (cache hints) change nothing."""

    model_config = ConfigDict(extra="ignore")
    type: Literal["text", "refusal"]
    text: str = ""


class CalledFunction(BaseModel):
    name: str
    arguments: str | dict[str, Any] = "{}"


class MadeCall(BaseModel):
    """A call that an assistant made. Arguments that are no JSON object are shown to the model as they are."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunction

    def as_dict(self) -> dict[str, Any]:
        arguments: Any = self.function.arguments
        if isinstance(arguments, str):
            try:
                read = json.loads(arguments)
            except (ValueError, RecursionError):
                read = None
            arguments = read if isinstance(read, dict) else arguments
        return {"id": self.id, "type": "function", "function": {"name": self.function.name, "arguments": arguments}}


class Message(BaseModel):
    """A turn of a chat. Other fields than these (names, refusals) are left out of the prompt."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[MadeCall] | None = None
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _text_only(cls, content: Any) -> Any:
        """Raises ApiError."""
        for part in content if isinstance(content, list) else ():
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("image_url", "input_audio", "file", "video_url"):
                raise ApiError(
                    400, f"{kind} is not supported: the model reads text", param="messages", code="unsupported_content"
                )
        return content

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": self.text}
        if self.role == "assistant" and self.tool_calls:
            found["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        if self.role == "tool" and self.tool_call_id:
            found["tool_call_id"] = self.tool_call_id
        return found


Messages = Annotated[list[Message], Field(min_length=1)]
