"""Solving with the vLLM backend from an asyncio program, on the default model: all calls share one engine."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any, cast

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen import GuidedGenerator
from guided_gen.engine.vllm_backend.model import VllmLanguageModel
from guided_gen.engine.vllm_backend.settings import VllmSettings
from guided_gen.solution import Progress, Solution

STATEMENTS = [f"Write a function f(x) that multiplies x by {factor}.\n\nf(1) == {factor}" for factor in (2, 3, 4)]
NEVER = frozenset({0})  # the token `!` alone ends an answer


@pytest.mark.model
def test_calls_at_once_share_one_engine_and_a_cancelled_one_stops_in_it() -> None:
    generator = GuidedGenerator.from_pretrained(backend="vllm", vllm=VllmSettings(max_model_len=1024))
    model = cast(VllmLanguageModel, generator.loaded.language_model)
    settings: dict[str, Any] = {"n": 2, "max_new_tokens": 24, "seed": 1}

    async def cancelled() -> None:
        endless = generator.astream(STATEMENTS[0], n=4, max_new_tokens=600, stop_ids=NEVER)
        async with aclosing(endless.__aiter__()) as events:
            async for event in events:
                if isinstance(event, Progress):
                    return

    async def at_once() -> list[Solution]:
        solving = [asyncio.create_task(generator.asolve(statement, **settings)) for statement in STATEMENTS]
        await cancelled()
        return await asyncio.gather(*solving)

    try:
        together = asyncio.run(at_once())
        alone = generator.solve(STATEMENTS[0], **settings)
        assert [one.text for one in together[0].candidates] == [one.text for one in alone.candidates]
        assert all(solution.program for solution in together)
        generator.scheduler.between_steps(lambda: None).result()  # the cancelled one's caches are freed before this
        assert model.engine.unfinished_requests == 0
        time.sleep(1)
        worked = model.engine.counts.batched
        time.sleep(1)
        assert model.engine.counts.batched == worked
        assert model.engine.counts.aborted > 0
    finally:
        model.end()
