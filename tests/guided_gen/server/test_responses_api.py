"""OpenAI's Responses API by the real openai client: text, tools, streams, and what goes on from an earlier response."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from guided_gen.server.conversations import Conversations
from guided_gen.server.errors import ApiError

from ..serving import Served

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "days": {"enum": [1, 2]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER: dict[str, Any] = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": True}
ASKED: dict[str, Any] = {
    "model": "guided-gen",
    "input": "What is 2 + 2?",
    "max_output_tokens": 24,
    "extra_body": {"seed": 7, "guided": {"n": 3}},
}
TOOLS: dict[str, Any] = ASKED | {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 150}


def test_a_response_is_the_answer_of_the_chat_that_it_is(client: openai.OpenAI) -> None:
    answer = client.responses.create(**ASKED, instructions="Answer.")
    chat = client.chat.completions.create(
        model="guided-gen",
        messages=[{"role": "system", "content": "Answer."}, {"role": "user", "content": "What is 2 + 2?"}],
        max_tokens=24,
        seed=7,
        extra_body={"guided": {"n": 3}},
    )
    assert answer.output_text == chat.choices[0].message.content
    assert answer.status == ("completed" if chat.choices[0].finish_reason == "stop" else "incomplete")
    assert answer.usage is not None and chat.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (chat.usage.prompt_tokens, chat.usage.completion_tokens)


@pytest.mark.parametrize("asked", [ASKED, TOOLS], ids=["text", "tools"])
def test_a_stream_tells_what_the_whole_response_has(client: openai.OpenAI, asked: dict[str, Any]) -> None:
    whole = client.responses.create(**asked)
    events: list[Any] = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == f"response.{whole.status}" and events[-1].response.output_text == whole.output_text
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert told == whole.output_text
    arguments = "".join(event.delta for event in events if event.type == "response.function_call_arguments.delta")
    assert arguments == "".join(item.arguments for item in whole.output if item.type == "function_call")
    kinds = [event.item.type for event in events if event.type == "response.output_item.done"]
    assert kinds == [item.type for item in whole.output]


def test_the_clients_own_accumulation_of_a_stream_holds(client: openai.OpenAI) -> None:
    with client.responses.stream(**TOOLS) as stream:
        for _ in stream:
            pass
        [streamed], [whole] = stream.get_final_response().output, client.responses.create(**TOOLS).output
    assert streamed.type == whole.type == "function_call" and streamed.arguments == whole.arguments


def test_a_tool_is_called_and_its_result_goes_back(client: openai.OpenAI) -> None:
    first = client.responses.create(**TOOLS)
    [call] = first.output
    assert call.type == "function_call" and call.name == "weather"
    found = json.loads(call.arguments)
    assert len(found["city"]) <= 5 and found["days"] in (1, 2)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    by_id = client.responses.create(**ASKED | {"input": [result]}, tools=TOOLS["tools"], previous_response_id=first.id)
    said: list[Any] = [{"role": "user", "content": ASKED["input"]}, call.model_dump(), result]
    by_hand = client.responses.create(**ASKED | {"input": said}, tools=TOOLS["tools"])
    assert by_id.output_text == by_hand.output_text and by_id.usage == by_hand.usage
    assert by_id.usage is not None and first.usage is not None and by_id.usage.input_tokens > first.usage.input_tokens + 20


def test_a_conversation_goes_on_from_what_was_stored_and_from_nothing_else(client: openai.OpenAI, served: Served) -> None:
    first = client.responses.create(**ASKED)
    second = client.responses.create(**ASKED | {"input": "And 3?"}, previous_response_id=first.id)
    turns: list[Any] = [
        {"role": "user", "content": ASKED["input"]},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "And 3?"},
    ]
    assert second.usage is not None
    assert second.usage.input_tokens == len(served.generator.loaded.tokenizer.apply_chat_template(turns, True))
    unstored = client.responses.create(**ASKED, store=False)
    for name in (unstored.id, "resp_unknown"):
        with pytest.raises(openai.BadRequestError, match="there is no response") as refused:
            client.responses.create(**ASKED, previous_response_id=name)
        assert refused.value.code == "previous_response_not_found"


def test_json_of_a_schema(client: openai.OpenAI) -> None:
    wanted: Any = {"format": {"type": "json_schema", "name": "place", "schema": PARAMETERS, "strict": True}}
    answer = client.responses.create(**ASKED | {"max_output_tokens": 150}, text=wanted, temperature=1.5)
    assert set(json.loads(answer.output_text)) == {"city", "days"}


def test_log_probabilities_are_told_where_they_are_included(client: openai.OpenAI) -> None:
    answer = client.responses.create(**ASKED, include=["message.output_text.logprobs"], top_logprobs=2)
    content: Any = answer.output[0]
    [part] = content.content
    assert part.logprobs and all(len(token.top_logprobs) == 2 for token in part.logprobs)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"reasoning": {"effort": "high"}}, "reasoning is not supported"),
        ({"background": True}, "background is not supported"),
        ({"truncation": "auto"}, "truncation is not supported"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input_image"),
        ({"input": [{"type": "computer_call"}]}, "computer_call"),
        ({"input": [{"role": "nobody", "content": "x"}]}, "role"),
        ({"max_output_tokens": 100_000}, "tokens here"),
        ({"extra_body": {"n": 2}}, "n is not supported here"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else "",
)
def test_what_is_not_supported_is_refused_by_its_name(client: openai.OpenAI, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(openai.BadRequestError, match=told):
        client.responses.create(**ASKED | changes)


def test_conversations_are_held_within_a_bound() -> None:
    held = Conversations(most_bytes=5000)
    for number in range(50):
        held.hold(f"resp_{number}", [{"role": "user", "content": "x" * 100}])
    assert held.messages("resp_49")[0]["content"] == "x" * 100
    with pytest.raises(ApiError):
        held.messages("resp_0")
    held.hold("resp_large", [{"content": "x" * 5000}])
    with pytest.raises(ApiError):
        held.messages("resp_large")
    assert held.messages("resp_49")
