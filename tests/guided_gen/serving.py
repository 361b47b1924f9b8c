"""A server over loopback on a tiny model, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from guided_gen.engine.search import SearchSettings
from guided_gen.generator import GuidedGenerator
from guided_gen.server.app import create_app
from guided_gen.server.http_server import bound_socket, http_server, port_of
from guided_gen.server.limits import ServerLimits

LIMITS = ServerLimits(new_tokens=3000, prompt_tokens=1000, body_bytes=200_000, candidates=16, body_seconds=5)


@dataclass
class Served:
    url: str
    generator: GuidedGenerator
    app: Any
    server: Any = None

    @property
    def idle(self) -> bool:
        """Whether no search holds a place or a cache."""
        self.generator.scheduler.between_steps(lambda: None).result()
        model: Any = self.generator.loaded.language_model
        service = self.app.state.service
        held = self.generator.scheduler.live, model.statistics.cached_tokens
        return not any((*held, service.admission.running, service.admission.waiting))


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within a time that no busy machine needs."""
    for _ in range(1200):
        if condition():
            return True
        time.sleep(0.05)
    return False


async def until(condition: Callable[[], bool]) -> None:
    """The same from within an event loop. Raises TimeoutError."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


@contextmanager
def serving(generator: GuidedGenerator, limits: ServerLimits = LIMITS, **options: Any) -> Iterator[Served]:
    prompt_tokens = generator.max_prompt_tokens  # a server sets its own
    app = create_app(generator, options.pop("settings", SearchSettings(n=2, max_new_tokens=24)), limits, **options)
    server = http_server(app, limits)
    thread = threading.Thread(target=server.run, args=([bound_socket("127.0.0.1", 0)],))
    thread.start()
    try:
        assert eventually(lambda: server.started)
        yield Served(f"http://127.0.0.1:{port_of(server)}", generator, app, server)
    finally:
        server.should_exit = True
        thread.join()
        generator.max_prompt_tokens = prompt_tokens
