"""The table of parameters in docs/server.md, made by asking: each parameter of the real openai client is sent to a server.

Where the table is stale, the failing test says the rows to put there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from guided_gen.server.chat_request import ChatRequest
from guided_gen.server.requests import CompletionRequest, SearchRequest
from guided_gen.server.responses_request import ResponsesRequest

DOCS = Path(__file__).parents[3] / "docs" / "server.md"
APIS: dict[str, type[SearchRequest]] = {"chat": ChatRequest, "completions": CompletionRequest, "responses": ResponsesRequest}
# Fields that only say who asks, or how OpenAI's own servers are to account for it.
IGNORED = frozenset(
    ("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "store")
)
OUR_OWN = ("guided", "min_p", "top_k", "seed", "logit_bias", "presence_penalty", "frequency_penalty", "stop")  # of all three
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "maxProperties": 0}}}
FLAT_TOOL = {"type": "function", "name": "f", "parameters": {"type": "object", "maxProperties": 0}}
ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 3},
    "completions": {"prompt": "Hi", "max_tokens": 3},
    "responses": {"input": "Hi", "max_output_tokens": 3},
}
SENT: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "wav"},
    "background": True,
    "best_of": 3,
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "echo": True,
    "frequency_penalty": 0.5,
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "guided": {"n": 2},
    "include": ["message.output_text.logprobs"],
    "instructions": "Be brief.",
    "logit_bias": {"5": -100},
    "max_completion_tokens": 4,
    "max_output_tokens": 4,
    "max_tokens": 4,
    "max_tool_calls": 1,
    "metadata": {"who": "a test"},
    "min_p": 0.1,
    "modalities": ["text", "audio"],
    "model": "guided-gen",
    "moderation": {"model": "omni"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "Hi"},
    "presence_penalty": 0.5,
    "prompt_cache_key": "key",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "high"},
    "reasoning_effort": "high",
    "response_format": {"type": "json_object"},
    "safety_identifier": "someone",
    "seed": 1,
    "service_tier": "auto",
    "stop": ["\n\n"],
    "store": True,
    "stream": True,
    "stream_options": {"include_usage": True},
    "suffix": "the end",
    "temperature": 0.5,
    "text": {"format": {"type": "json_object"}},
    "tool_choice": "required",
    "top_k": 5,
    "top_logprobs": 2,
    "top_p": 0.5,
    "truncation": "auto",
    "user": "someone",
    "verbosity": "low",
    "web_search_options": {},
}


def parameters(client: openai.OpenAI, api: str) -> list[str]:
    """All that the client's method takes, and what this server takes beside it."""
    method: Any = {"chat": client.chat.completions, "completions": client.completions, "responses": client.responses}[api]
    named = [name for name in inspect.signature(method.create).parameters if not name.startswith("extra_") and name != "timeout"]
    return sorted({*named, *OUR_OWN})


def sent(api: str, name: str, earlier: str) -> dict[str, Any]:
    """A request with this parameter, and with those that it needs."""
    value = {"previous_response_id": earlier, "logprobs": True if api == "chat" else 2, "tools": [TOOL]}.get(name, SENT.get(name))
    asked: dict[str, Any] = {"model": "guided-gen"} | ASKED[api]
    if name == "prompt" and api == "responses":
        value = {"id": "pmpt_1"}
    if name not in ASKED[api] or name in SENT:
        asked[name] = value
    if name == "tools" and api == "responses":
        asked["tools"] = [FLAT_TOOL]
    if name in ("tool_choice", "parallel_tool_calls"):
        asked["tools"] = [FLAT_TOOL if api == "responses" else TOOL]
    if name == "top_logprobs":
        asked |= {"logprobs": True} if api == "chat" else {"include": ["message.output_text.logprobs"]}
    if name == "stream_options":
        asked["stream"] = True
    return asked


def found(client: openai.OpenAI) -> dict[str, dict[str, str]]:
    """What becomes of each parameter, by API."""
    earlier = client.responses.create(model="guided-gen", **ASKED["responses"]).id
    table: dict[str, dict[str, str]] = {}
    for api in APIS:
        path = {"chat": "/chat/completions"}.get(api, f"/{api}")
        for name in parameters(client, api):
            try:
                client.post(path, body=sent(api, name, earlier), cast_to=str)
                told = "ignored" if name in IGNORED and (api, name) != ("responses", "store") else "works"
            except openai.BadRequestError as error:
                assert error.param == name or name in str(error), (api, name, error)
                told = "refused"
            table.setdefault(name, {})[api] = told
    return table


def rows(table: dict[str, dict[str, str]]) -> list[str]:
    head = ["| parameter | chat | completions | responses |", "|---|---|---|---|"]
    return head + [f"| `{name}` | {' | '.join(table[name].get(api, '') for api in APIS)} |" for name in sorted(table)]


@pytest.fixture(scope="module")
def table(client: openai.OpenAI) -> Iterator[dict[str, dict[str, str]]]:
    yield found(client)


def test_the_table_in_the_docs_is_what_the_server_does(table: dict[str, dict[str, str]]) -> None:
    section = DOCS.read_text().partition("\n### All parameters\n")[2].partition("\n#")[0]
    told = [line for line in section.splitlines() if line.startswith("|")]
    assert told == rows(table), "\n".join(["the rows for docs/server.md:", *rows(table)])


def test_every_field_of_the_schema_is_in_the_table(table: dict[str, dict[str, str]]) -> None:
    for api, request in APIS.items():
        refused_here = {"n", "max_tokens"} if api == "responses" else set()
        for name in set(request.model_fields) - refused_here:
            assert table[name][api] in ("works", "ignored"), (api, name)
    assert set(SearchRequest.model_fields) <= set(table)
