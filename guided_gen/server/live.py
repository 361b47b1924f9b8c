"""A search as the page of the server reads it: one JSON object a line, progress first, then all that the page shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from ..generator import Event, Progress, Settled, Solved
from ..search_page_data import search_data
from .errors import as_api_error


async def page_chunks(events: AsyncGenerator[Event, None], tokenizer: Any, statement: str) -> AsyncGenerator[bytes, None]:
    """Lines with `progress`, `settled` text, at last `search` or `error`. What goes wrong before the first event is raised."""
    async with aclosing(events):
        event = await anext(events)
        try:
            while not isinstance(event, Solved):
                if isinstance(event, Progress):
                    numbers = {name: None if value != value else value for name, value in asdict(event).items()}
                    yield _line({"progress": numbers})
                elif isinstance(event, Settled):
                    yield _line({"settled": event.text})
                event = await anext(events)
            data = await asyncio.to_thread(search_data, event.solution.tree, tokenizer, statement)
            yield _line({"search": data})
        except Exception as error:
            yield _line(as_api_error(error).body)


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"
