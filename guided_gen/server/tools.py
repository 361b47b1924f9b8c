"""The tools that a request offers: what the model is told of them, what an answer must be, and which answers call them well."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jsonschema_rs
from pydantic import BaseModel, ConfigDict, StringConstraints

from .errors import ApiError
from .tool_calls import ToolCall, read_calls

MOST_TOOLS = 128
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
Form = tuple[str, Mapping[str, Any] | bool, str]


class Function(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["function"]
    function: Function


class FunctionName(BaseModel):
    name: ToolName


class NamedTool(BaseModel):
    """The choice of one tool, which must be called."""

    type: Literal["function"]
    function: FunctionName


ToolChoice = Literal["none", "auto", "required"] | NamedTool


class Toolbox:
    """The tools that an answer may call; those that it must call one of, where the client says so."""

    def __init__(self, tools: list[Tool], choice: ToolChoice | None, parallel: bool) -> None:
        """Raises ApiError where the choice is none of them, or parameters are no schema."""
        self._functions = {tool.function.name: tool.function for tool in tools}
        if len(self._functions) < len(tools):
            raise ApiError(400, "two tools have the same name", param="tools")
        self.parallel = parallel
        self.required = choice == "required" or isinstance(choice, NamedTool)
        if isinstance(choice, NamedTool):
            name = choice.function.name
            if name not in self._functions:
                raise ApiError(400, f"tool_choice names {name!r}, which is none of the tools", param="tool_choice")
            self._functions = {name: self._functions[name]}
        self.offered = [tool.model_dump(exclude_none=True, exclude={"function": {"strict"}}) for tool in tools]
        self._validators = {name: _validator(function) for name, function in self._functions.items()}

    @property
    def names(self) -> list[str]:
        return list(self._functions)

    @property
    def forms(self) -> list[Form]:
        """What a call of each tool looks like: a text, JSON of a schema, a text."""
        return [
            (f'{{"name": {json.dumps(name)}, "arguments": ', function.parameters or {"type": "object"}, "}")
            for name, function in self._functions.items()
        ]

    def read(self, text: str) -> tuple[str, list[ToolCall]]:
        """An answer's content and calls."""
        content, calls = read_calls(text, self._functions)
        return content, calls if self.parallel else calls[:1]

    def fits(self, text: str) -> bool:
        """Whether all calls in an answer have arguments that fit, and nothing in it is a call that cannot be read."""
        content, calls = self.read(text)
        unread = "<tool_call>" in content or content.lstrip("`json \n").startswith('{"name"')
        return not unread and all(self._validators[call.name].is_valid(json.loads(call.arguments)) for call in calls)


def _validator(function: Function) -> Any:
    """Raises ApiError where the parameters are no schema. Nothing is fetched, and patterns backtrack within a bound."""
    try:
        return jsonschema_rs.validator_for(
            function.parameters or {}, offline=True, pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)
        )
    except Exception as error:  # the library's, which are of several kinds
        first = (str(error).strip() or "it does not say why").splitlines()[0][:300]
        raise ApiError(400, f"the parameters of the tool {function.name} are no JSON schema: {first}", param="tools") from error
