"""The documented adapters against the real libraries and a server on a tiny model: what they print is its noise, but printed."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guided_gen.generator import GuidedGenerator

from ..serving import Served, eventually, serving

EXAMPLES = Path(__file__).parents[3] / "examples" / "agents"


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")


@pytest.fixture
def served(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(generator, keys=["sesame"]) as server:
        monkeypatch.setenv("GUIDED_GEN_URL", f"{server.url}/v1")
        monkeypatch.setenv("GUIDED_GEN_KEY", "sesame")
        yield server


def searched_tokens(server: Served) -> float:
    return float(server.app.state.service.metrics.searched._value.get())


@pytest.mark.parametrize(
    ("library", "example"),
    [("openai", "openai_client"), ("litellm", "litellm_completion"), ("langchain_openai", "langchain_chat")],
)
def test_the_example_runs_against_the_real_library(library: str, example: str, served: Served, capsys: Any) -> None:
    pytest.importorskip(library, reason=f"needs {library}: make test-agents")
    runpy.run_path(str(EXAMPLES / f"{example}.py"))
    assert capsys.readouterr().out
    assert searched_tokens(served) > 0 and eventually(lambda: served.idle)


def test_a_smolagents_agent_asks_the_generator_in_this_process(generator: GuidedGenerator) -> None:
    smolagents = pytest.importorskip("smolagents", reason="needs smolagents: make test-agents")
    module = runpy.run_path(str(EXAMPLES / "smolagents_model.py"))
    model = module["GuidedModel"](generator, n=2, max_new_tokens=16, seed=1)
    asked = [
        smolagents.ChatMessage(role=smolagents.MessageRole.SYSTEM, content="Be brief."),
        smolagents.ChatMessage(role=smolagents.MessageRole.USER, content=[{"type": "text", "text": "Hello."}]),
        smolagents.ChatMessage(role=smolagents.MessageRole.TOOL_RESPONSE, content="Observation: 3"),
    ]
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]
    chat.append({"role": "user", "content": "Observation: 3"})
    assert model.generate(asked).content == generator.solve(chat, n=2, max_new_tokens=16, seed=1).best.text
    assert isinstance(module["agent"](generator, n=1), smolagents.CodeAgent)


@pytest.mark.model
def test_a_smolagents_agent_solves_a_small_task_with_the_default_model() -> None:
    pytest.importorskip("smolagents", reason="needs smolagents: make test-agents")
    module = runpy.run_path(str(EXAMPLES / "smolagents_model.py"))
    generator = GuidedGenerator.from_pretrained()
    agent = module["agent"](generator, n=2, max_new_tokens=120, accept=lambda text: "final_answer" in text)
    assert "385" in str(agent.run("Compute the sum of the squares of the integers from 1 to 10."))
