"""The queue before the model: what `AdmissionQueue` promises whatever the order of events."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from guided_gen.server.errors import ApiError
from guided_gen.server.limits import AdmissionQueue, ServerLimits


@pytest.mark.parametrize(("searches", "waiting"), [(1, 0), (1, 1), (2, 3)])
def test_as_many_are_admitted_at_the_same_moment_as_there_are_places(searches: int, waiting: int) -> None:
    async def crowd() -> None:
        admission = AdmissionQueue(ServerLimits(searches=searches, waiting=waiting))
        leave = asyncio.Event()

        async def come() -> None:
            async with admission.place():
                await leave.wait()

        visits = [asyncio.create_task(come()) for _ in range(searches + waiting + 2)]
        await asyncio.sleep(0.05)
        assert (admission.running, admission.waiting) == (searches, waiting)
        refused = [visit.exception() for visit in visits if visit.done()]
        assert [type(error) for error in refused] == [ApiError, ApiError]
        leave.set()
        await asyncio.gather(*visits, return_exceptions=True)
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(crowd())


def test_who_waits_too_long_is_told_so_and_leaves_the_queue() -> None:
    async def wait() -> None:
        admission = AdmissionQueue(ServerLimits(searches=1, waiting=1, seconds=0.01))
        async with AsyncExitStack() as held:
            await held.enter_async_context(admission.place())
            with pytest.raises(ApiError) as told:
                await held.enter_async_context(admission.place())
            assert told.value.status == 503 and admission.waiting == 0
        async with admission.place():
            assert admission.running == 1

    asyncio.run(wait())
