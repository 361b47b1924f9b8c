"""Tools and JSON by the real openai client: a model of random weights calls them as their schemas say, because it must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from guided_gen.generator import GuidedGenerator
from guided_gen.server.app import create_app
from guided_gen.server.tools import Function, Tool, Toolbox

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"enum": [1, 2]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
FUNCTION: dict[str, Any] = {"name": "weather", "description": "Of a city.", "parameters": PARAMETERS}
WEATHER: dict[str, Any] = {"type": "function", "function": FUNCTION}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "maxProperties": 0}}}
ASKED: dict[str, Any] = {
    "model": "guided-gen",
    "messages": [{"role": "user", "content": "What is the weather in Rome?"}],
    "tools": [WEATHER, CLOCK],
    "max_tokens": 150,
    "seed": 3,
    "extra_body": {"guided": {"n": 3}},
}
NAMED: Any = {"type": "function", "function": {"name": "weather"}}


def fits(arguments: str) -> bool:
    found = json.loads(arguments)
    return set(found) == {"city", "days"} and len(found["city"]) <= 5 and found["days"] in (1, 2)


def test_what_all_schemas_need_is_made_before_anybody_is_let_in(tiny_folder: Path) -> None:
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    create_app(generator)
    assert "grammars" in vars(generator)


def test_a_named_tool_is_called_as_its_schema_says(client: openai.OpenAI) -> None:
    choice = client.chat.completions.create(**ASKED, tool_choice=NAMED).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.type == "function" and call.function.name == "weather" and fits(call.function.arguments)


def test_a_stream_tells_the_same_call_in_deltas(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**ASKED, tool_choice="required").choices[0].message.tool_calls or []
    names, arguments, content = [], "", ""
    chunks = list(client.chat.completions.create(**ASKED, tool_choice="required", stream=True))
    for chunk in chunks:
        delta = chunk.choices[0].delta
        content += delta.content or ""
        for call in delta.tool_calls or []:
            assert call.index == 0 and call.function is not None
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
    assert chunks[-1].choices[0].finish_reason == "tool_calls" and not content
    assert names == [whole[0].function.name] and arguments == whole[0].function.arguments  # type: ignore[union-attr]


def test_the_results_of_calls_and_the_calls_are_in_the_prompt(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome", "days": 1}'}}
    turns: list[Any] = [
        *ASKED["messages"],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    answers = [client.chat.completions.create(**ASKED | {"messages": turns[:count]}) for count in (1, 2, 3)]
    sizes = [answer.usage.prompt_tokens for answer in answers if answer.usage]
    assert sizes[1] - sizes[0] > 30 and sizes[2] - sizes[1] > len("sunny")
    untold = client.chat.completions.create(**ASKED, tool_choice="none")
    assert untold.usage is not None and untold.usage.prompt_tokens < sizes[0] - 200


def test_answers_whose_arguments_fit_rank_first() -> None:
    box = Toolbox([Tool.model_validate(WEATHER)], "auto", True)
    call = '<tool_call>\n{"name": "weather", "arguments": %s}\n</tool_call>'
    assert box.fits(call % '{"city": "Rome", "days": 1}') and box.fits("It is sunny.")
    unread = call % "{", '{"name": "other", "arguments": {}}'
    for bad in (call % '{"city": "Rome"}', call % '{"city": "Rome", "days": 9}', *unread):
        assert not box.fits(bad), bad


@pytest.mark.parametrize("streamed", [False, True])
def test_json_of_a_schema(client: openai.OpenAI, streamed: bool) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": PARAMETERS}}
    asked = {name: value for name, value in ASKED.items() if name not in ("tools", "extra_body")}
    asked |= {"response_format": wanted, "temperature": 1.5}
    for n in (1, 4):
        answer: Any = client.chat.completions.create(**asked, n=n, stream=streamed)
        if streamed:
            chunks = [choice for chunk in answer for choice in chunk.choices]
            texts = ["".join(c.delta.content or "" for c in chunks if c.index == i) for i in range(n)]
        else:
            texts = [choice.message.content for choice in answer.choices]
        assert len(texts) == n and all(map(fits, texts))


def test_a_json_object(client: openai.OpenAI) -> None:
    asked: Any = ASKED | {"response_format": {"type": "json_object"}, "tools": [], "temperature": 0, "max_tokens": 60}
    answer = client.chat.completions.create(**asked)
    assert (answer.choices[0].message.content or "").startswith("{")


def test_schemas_that_cannot_be_held_are_refused_by_name(client: openai.OpenAI) -> None:
    bad: Any = Function(name="f", parameters={"type": "nothing"})
    for changes, told in (
        ({"tools": [{"type": "function", "function": bad.model_dump(exclude_none=True)}]}, "the parameters of the tool f"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "x"}}}}, "schema"),
        ({"tools": [WEATHER, WEATHER]}, "same name"),
        ({"tool_choice": {"type": "function", "function": {"name": "other"}}}, "none of the tools"),
    ):
        with pytest.raises(openai.BadRequestError, match=told):
            client.chat.completions.create(**ASKED | changes)
