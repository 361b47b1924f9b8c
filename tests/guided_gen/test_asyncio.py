"""The front door from asyncio and from several callers at once: one thread decodes for all, in one batch."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guided_gen.engine.policies import View
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.tree import Ended
from guided_gen.generator import GuidedGenerator
from guided_gen.scheduler import STEPS_AHEAD
from guided_gen.solution import Progress, Settled, Solved

CHAT = [{"role": "user", "content": "Say something."}]
ENDLESS: dict[str, Any] = {"n": 3, "max_new_tokens": 3000, "sampling": Sampling(0)}


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")


@pytest.fixture(scope="module")
def endless(endless_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(endless_folder), precision="float32")


def idle(generator: GuidedGenerator) -> bool:
    generator.scheduler.between_steps(lambda: None).result()
    return generator.loaded.language_model.statistics.cached_tokens == 0 and generator.scheduler.live == 0


@pytest.fixture
def steps(endless: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of searches in each decode step, as they happen."""
    seen: list[int] = []
    model = endless.loaded.language_model
    advance = model.advance

    def counted(growths: Any) -> Any:
        if growths:
            seen.append(len(growths))
        return advance(growths)

    monkeypatch.setattr(model, "advance", counted)
    return seen


def test_asolve_finds_what_solve_finds(generator: GuidedGenerator) -> None:
    found = asyncio.run(generator.asolve(CHAT, n=3, max_new_tokens=20, seed=5))
    assert [c.text for c in found.candidates] == [
        c.text for c in generator.solve(CHAT, n=3, max_new_tokens=20, seed=5).candidates
    ]


def test_concurrent_searches_share_their_steps_and_keep_their_answers(endless: GuidedGenerator, steps: list[int]) -> None:
    questions = [[{"role": "user", "content": f"Question {i}."}] for i in range(5)]
    alone = [endless.solve(question, n=2, max_new_tokens=24, seed=1).best.text for question in questions]
    del steps[:]

    async def together() -> list[str]:
        found = await asyncio.gather(*(endless.asolve(q, n=2, max_new_tokens=24, seed=1) for q in questions))
        return [solution.best.text for solution in found]

    assert asyncio.run(together()) == alone
    assert max(steps) == 5 and len(steps) < 5 * 24


def test_threads_and_event_loops_meet_in_one_batch(endless: GuidedGenerator, steps: list[int]) -> None:
    thread = threading.Thread(target=lambda: endless.solve(CHAT, **ENDLESS | {"max_new_tokens": 200}))
    thread.start()
    asyncio.run(endless.asolve(CHAT, **ENDLESS | {"max_new_tokens": 200}))
    thread.join()
    assert max(steps) == 2


def test_a_cancelled_task_stops_decoding_and_frees_its_cache(endless: GuidedGenerator, steps: list[int]) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(endless.asolve(CHAT, **ENDLESS))
        while len(steps) < 5:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        begun = len(steps)
        assert await asyncio.to_thread(idle, endless)
        assert len(steps) <= begun + 1  # the step in progress

    asyncio.run(cancel())


def test_a_task_cancelled_while_its_prompt_is_read_leaves_nothing(endless: GuidedGenerator) -> None:
    async def cancel_at_once() -> None:
        tasks = [asyncio.create_task(endless.asolve(CHAT, **ENDLESS)) for _ in range(4)]
        for i, task in enumerate(tasks):
            await asyncio.sleep(0.002 * i)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await asyncio.to_thread(idle, endless)

    asyncio.run(cancel_at_once())


def test_a_reader_that_stops_reading_is_waited_for_and_holds_up_nobody(endless: GuidedGenerator, steps: list[int]) -> None:
    slow = iter(endless.stream(CHAT, **ENDLESS))
    next(slow)
    while len(steps) < STEPS_AHEAD:
        time.sleep(0.001)
    fast = endless.solve(CHAT, n=2, max_new_tokens=50, sampling=Sampling(0))
    assert fast.decoded_tokens == 50
    assert sum(size == 2 for size in steps) <= STEPS_AHEAD + 1
    slow.close()  # type: ignore[attr-defined]
    assert idle(endless)


def test_a_stream_read_by_async_for_can_be_left(endless: GuidedGenerator) -> None:
    async def leave() -> None:
        async with aclosing(endless.astream(CHAT, **ENDLESS).__aiter__()) as events:
            async for event in events:
                if isinstance(event, Progress) and event.decoded_tokens >= 10:
                    break

    asyncio.run(leave())
    assert idle(endless)


@dataclass(frozen=True)
class Failing:
    """A policy of the caller's own, with a bug."""

    reason = Ended.PRUNED
    revisits = False

    def __call__(self, view: View) -> np.ndarray:
        raise ZeroDivisionError("the caller's own bug")


def test_a_policy_that_fails_ends_its_own_search_only(endless: GuidedGenerator) -> None:
    async def both() -> list[Any]:
        good = endless.asolve(CHAT, n=2, max_new_tokens=40, seed=2)
        bad = endless.asolve(CHAT, n=2, max_new_tokens=40, policy=Failing(), check_every=8)
        return list(await asyncio.gather(good, bad, return_exceptions=True))

    good, bad = asyncio.run(both())
    assert isinstance(bad, ZeroDivisionError)
    assert good.best.text == endless.solve(CHAT, n=2, max_new_tokens=40, seed=2).best.text
    assert idle(endless)


def test_a_reader_that_is_late_still_meets_the_error(endless: GuidedGenerator) -> None:
    async def late() -> None:
        async for _ in endless.astream(CHAT, n=2, max_new_tokens=40, policy=Failing(), check_every=3):
            await asyncio.sleep(0.3)  # the search goes on meanwhile, and fails while its events wait

    with pytest.raises(ZeroDivisionError):
        asyncio.run(asyncio.wait_for(late(), 30))
    assert idle(endless)


@dataclass
class KeepLongest:
    """A policy of the caller's own: once, drops all but one candidate."""

    reason = Ended.PRUNED
    revisits = False
    asked: int = field(default=0)

    def __call__(self, view: View) -> np.ndarray:
        self.asked += 1
        children = np.zeros_like(view.live)
        children[view.best_first()[:1]] = 1
        return children


def test_a_callers_own_policy_decides(generator: GuidedGenerator) -> None:
    policy = KeepLongest()
    solution = generator.solve(CHAT, n=5, max_new_tokens=30, policy=policy, check_every=10, seed=8)
    assert policy.asked and sum(c.multiplicity for c in solution.candidates if c.ended == Ended.PRUNED) >= 2


def test_what_the_caller_accepts_comes_first(generator: GuidedGenerator) -> None:
    asked: dict[str, float] = {}

    def accept(text: str) -> float:
        asked[text] = -len(text)
        return asked[text]

    solution = generator.solve(CHAT, n=24, max_new_tokens=120, accept=accept, seed=0)
    complete = [c for c in solution.candidates if c.complete]
    assert len(complete) > 1 and {c.text for c in complete} == set(asked)
    assert [c.accepted for c in complete] == sorted(asked.values(), reverse=True)
    assert solution.candidates[: len(complete)] == complete and solution.best.accepted == max(asked.values())


def test_what_accept_raises_reaches_the_caller(generator: GuidedGenerator) -> None:
    def accept(text: str) -> bool:
        raise LookupError("the caller's own tests are gone")

    with pytest.raises(LookupError, match="are gone"):
        generator.solve(CHAT, n=24, max_new_tokens=120, accept=accept, seed=0)
    assert idle(generator)


@pytest.mark.parametrize("n", [1, 2, 12])
def test_settled_text_is_the_best_answer_and_is_never_taken_back(generator: GuidedGenerator, n: int) -> None:
    settled, solution = [], None
    for event in generator.stream(CHAT, n=n, max_new_tokens=80, seed=n):
        if isinstance(event, Settled):
            settled.append(event.text)
        elif isinstance(event, Solved):
            solution = event.solution
    assert solution is not None and "".join(settled) == solution.best.text
    if n == 1:
        assert len(settled) > 10


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it(generator: GuidedGenerator) -> None:
    plain = generator.solve(CHAT, n=1, max_new_tokens=60, seed=3).best.text
    stop = plain[len(plain) // 2 : len(plain) // 2 + 2]
    events = list(generator.stream(CHAT, n=1, max_new_tokens=60, seed=3, stop=[stop]))
    solution = events[-1].solution  # type: ignore[union-attr]
    assert solution.best.text == plain[: plain.index(stop)]
    assert solution.best.complete and solution.decoded_tokens < 60
    assert "".join(event.text for event in events if isinstance(event, Settled)) == solution.best.text


def test_a_chats_next_turn_reads_only_what_is_new(generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = generator.loaded.language_model
    first = generator.solve(CHAT, n=2, max_new_tokens=30, seed=1)
    turn = [*CHAT, {"role": "assistant", "content": first.best.text}, {"role": "user", "content": "And now?"}]
    read: list[int] = []
    run = model._run
    monkeypatch.setattr(model, "_run", lambda tokens, *rest: (read.append(len(tokens)), run(tokens, *rest))[1])
    generator.solve(turn, n=1, max_new_tokens=1)
    again = generator.loaded.tokenizer.apply_chat_template(turn, add_generation_prompt=True)
    assert first.prompt_tokens < len(again)
    assert read[0] <= len(again) - first.prompt_tokens
    del read[:]
    generator.solve(turn, n=1, max_new_tokens=1)
    assert read == []  # the same prompt again: nothing is read


def test_the_documented_example_runs(
    generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", docs, re.DOTALL)
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda: generator)
    small = example.replace("n=4", "n=4, max_new_tokens=8").replace("n=2", "n=2, max_new_tokens=8")
    exec(compile(small, "server.md", "exec"), {})
    assert "Solved" in capsys.readouterr().out
