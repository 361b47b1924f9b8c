"""Agent libraries as they are, against a server of a tiny model: it calls tools and writes JSON because it must, and what each
library makes of it is what its users rely on. `make test-agents` runs this in an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict

from guided_gen.engine.search import SearchSettings
from guided_gen.generator import GuidedGenerator

from ..serving import Served, serving

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the net for prices


class Weather(BaseModel):
    """The weather of some days. Nothing else is allowed: a model of random weights would add fields without end."""

    model_config = ConfigDict(extra="forbid")
    days: Literal[1, 2]
    sky: Literal["clear", "grey"]


@pytest.fixture(scope="module")
def served(tiny_folder: Path) -> Iterator[Served]:
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    with serving(generator, settings=SearchSettings(n=2, max_new_tokens=600)) as server:
        yield server


@pytest.fixture
def base(served: Served) -> str:
    return f"{served.url}/v1"


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_openai_agents_sdk_calls_a_tool_and_goes_on_with_its_result(base: str, api: str, streamed: bool) -> None:
    agents = pytest.importorskip("agents", reason="needs openai-agents: make test-agents")
    import openai

    agents.set_tracing_disabled(True)
    asked: list[int] = []

    @agents.function_tool  # type: ignore[untyped-decorator]
    def weather(days: Literal[1, 2]) -> str:
        """The weather of so many days."""
        asked.append(days)
        return "sunny"

    kind = {"responses": agents.OpenAIResponsesModel, "chat": agents.OpenAIChatCompletionsModel}[api]
    model = kind(model="guided-gen", openai_client=openai.AsyncOpenAI(base_url=base, api_key="none"))
    settings = agents.ModelSettings(tool_choice="required", max_tokens=600)
    agent = agents.Agent(name="A", instructions="Be brief.", model=model, tools=[weather], model_settings=settings)

    async def run() -> Any:
        if not streamed:
            return await agents.Runner.run(agent, "How is the weather?", max_turns=4)
        result = agents.Runner.run_streamed(agent, "How is the weather?", max_turns=4)
        assert [event async for event in result.stream_events()]
        return result

    result = asyncio.run(run())
    assert asked and asked[0] in (1, 2) and isinstance(result.final_output, str)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_the_openai_agents_sdk_reads_a_typed_answer(base: str, api: str) -> None:
    agents = pytest.importorskip("agents", reason="needs openai-agents: make test-agents")
    import openai

    agents.set_tracing_disabled(True)
    kind = {"responses": agents.OpenAIResponsesModel, "chat": agents.OpenAIChatCompletionsModel}[api]
    model = kind(model="guided-gen", openai_client=openai.AsyncOpenAI(base_url=base, api_key="none"))
    agent = agents.Agent(name="A", instructions="Be brief.", model=model, output_type=Weather)
    assert isinstance(agents.Runner.run_sync(agent, "How is the weather?").final_output, Weather)


@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "RESPONSES_TOOLS"])
def test_instructor_reads_a_typed_answer(base: str, mode: str) -> None:
    instructor = pytest.importorskip("instructor", reason="needs instructor: make test-agents")
    import openai

    client = instructor.from_openai(openai.OpenAI(base_url=base, api_key="none"), mode=instructor.Mode[mode])
    asked: list[Any] = [{"role": "user", "content": "How is the weather?"}]
    found = client.chat.completions.create(model="guided-gen", response_model=Weather, messages=asked, max_retries=0)
    assert isinstance(found, Weather)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_reads_a_typed_answer(base: str, method: Any) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="needs langchain-openai: make test-agents")
    chat = langchain.ChatOpenAI(model="guided-gen", base_url=base, api_key="none", max_retries=0)
    assert isinstance(chat.with_structured_output(Weather, method=method).invoke("How is the weather?"), Weather)


def test_langchain_streams_calls_of_tools_and_texts(base: str) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="needs langchain-openai: make test-agents")
    options: dict[str, Any] = {"model": "guided-gen", "base_url": base, "api_key": "none", "max_retries": 0}
    bound = langchain.ChatOpenAI(**options).bind_tools([Weather], tool_choice="required")
    pieces = list(bound.stream("How is the weather?"))
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    [call] = whole.tool_calls
    assert call["name"] == "Weather" and Weather(**call["args"])
    text = langchain.OpenAI(**options, max_tokens=12, temperature=0)
    assert "".join(text.stream("def f(x):")) == text.invoke("def f(x):") != ""
    assert langchain.ChatOpenAI(**options, use_responses_api=True, max_tokens=20).invoke("Hello").text


@pytest.mark.parametrize("streamed", [False, True])
def test_smolagents_reads_the_call_of_a_tool(base: str, streamed: bool) -> None:
    smolagents = pytest.importorskip("smolagents", reason="needs smolagents: make test-agents")

    @smolagents.tool  # type: ignore[untyped-decorator]
    def weather(today: bool) -> str:
        """The weather.

        Args:
            today: Whether of today.
        """
        return "sunny"

    model = smolagents.OpenAIModel("guided-gen", api_base=base, api_key="none", max_tokens=600)
    asked = [smolagents.ChatMessage(role=smolagents.MessageRole.USER, content="How is the weather?")]
    if streamed:
        deltas = list(model.generate_stream(asked, tools_to_call_from=[weather]))
        message = smolagents.models.agglomerate_stream_deltas(deltas)
    else:
        message = model.generate(asked, tools_to_call_from=[weather])
    [call] = message.tool_calls
    arguments = call.function.arguments
    found = json.loads(arguments) if isinstance(arguments, str) else arguments
    assert call.function.name == "weather" and isinstance(found["today"], bool)


def test_litellm_calls_tools_reads_json_and_streams(base: str) -> None:
    litellm = pytest.importorskip("litellm", reason="needs litellm: make test-agents")
    asked: dict[str, Any] = {
        "model": "openai/guided-gen",
        "api_base": base,
        "api_key": "none",
        "messages": [{"role": "user", "content": "How is the weather?"}],
    }
    tool = {"type": "function", "function": {"name": "weather", "parameters": Weather.model_json_schema()}}
    [call] = litellm.completion(**asked, tools=[tool], tool_choice="required").choices[0].message.tool_calls
    assert call.function.name == "weather" and Weather.model_validate_json(call.function.arguments)
    answer = litellm.completion(**asked, response_format=Weather)
    assert Weather.model_validate_json(answer.choices[0].message.content)
    pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**asked, max_tokens=20, stream=True)]
    assert "".join(pieces)
    assert litellm.responses(model="openai/guided-gen", api_base=base, api_key="none", input="Hi", max_output_tokens=20).output


def test_the_command_llm_reads_a_schema(base: str, tmp_path: Path) -> None:
    pytest.importorskip("llm", reason="needs llm: make test-agents")
    settings = [{"model_id": "guided", "model_name": "guided-gen", "api_base": base, "supports_schema": True}]
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps(settings))  # JSON is YAML
    schema = json.dumps(Weather.model_json_schema())
    command = [
        sys.executable,
        "-m",
        "llm",
        "-m",
        "guided",
        "--schema",
        schema,
        "--no-log",
        "--key",
        "none",
        "How is the weather?",
    ]
    environment = os.environ | {"LLM_USER_PATH": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert run.returncode == 0 and Weather.model_validate_json(run.stdout), run.stderr
