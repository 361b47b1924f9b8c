"""A search as the page watches it: JSON lines, at most 30 frames a second whatever the speed of decoding."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import astuple
from typing import Any

from ..search_page_data import NodeTexts, search_data
from ..solution import Event, Grown, Progress, Solution, Solved, Standing
from .errors import as_api_error

MEDIA_TYPE = "application/x-ndjson"
FRAME_SECONDS = 1 / 30
DECISIONS = ("pruned", "stopped", "cut", "complete", "passes", "fails")  # states that are marked in the time line


class PageLines:
    """What one search's lines say. The first has its `name`; then come frames; the last has the whole search, or an error.

    A frame: `seconds`, `tokens`, `live`; `nodes`, [parent, text] of the new ones; `samples`, [number, leaf, fork, state, score,
    probability, examples] of those that changed; `decisions`, [what, how many]. `search` is the last line, once there is one.
    """

    def __init__(self, tokenizer: Any, statement: str, name: str) -> None:
        self._tokenizer, self._statement, self.name = tokenizer, statement, name
        self._texts = NodeTexts(tokenizer)
        self._nodes: list[list[Any]] = []  # not yet told
        self._samples: list[Standing] = []
        self._told: dict[int, Standing] = {}
        self._progress: Progress | None = None
        self._timeline: list[list[Any]] = []
        self.search: bytes | None = None

    def note(self, event: Event) -> None:
        """Take in what happened, to be told by the next frame."""
        if isinstance(event, Grown):
            texts = self._texts.extend(event.parents, event.token_ids)
            self._nodes += [[parent, text] for parent, text in zip(event.parents, texts, strict=True)]
            self._samples = event.samples
        elif isinstance(event, Progress):
            self._progress = event

    def frame(self) -> bytes:
        """What is new since the last frame; nothing where there is nothing."""
        changed = [(i, sample) for i, sample in enumerate(self._samples) if self._told.get(i) != sample]
        if not (changed or self._nodes) or self._progress is None:
            return b""
        decisions = self._decisions(changed)
        self._told |= dict(changed)
        now = [round(self._progress.seconds, 3), self._progress.decoded_tokens, self._progress.live]
        if decisions or not self._timeline or now[0] - self._timeline[-1][0] >= 0.2:
            self._timeline.append([*now, decisions])
        nodes, self._nodes = self._nodes, []
        samples = [[i, *astuple(sample)] for i, sample in changed]
        told = dict(zip(("seconds", "tokens", "live"), now, strict=True))
        return line({"frame": told | {"nodes": nodes, "samples": samples, "decisions": decisions}})

    def whole(self, solution: Solution) -> bytes:
        data = search_data(solution.tree, self._tokenizer, self._statement)
        data["title"] = self._statement.strip().split("\n", 1)[0][:60]
        data["about"] |= {"seconds": round(solution.seconds, 2)}
        self.search = line({"search": data | {"name": self.name, "timeline": self._timeline}})
        return self.search

    def _decisions(self, changed: list[tuple[int, Standing]]) -> list[list[Any]]:
        """[what, how many] since the last frame."""
        count: Counter[str] = Counter()
        for i, sample in changed:
            before = self._told.get(i)
            if self._told and before is None:
                count["forked" if sample.fork >= 0 else "begun"] += 1
            if sample.state in DECISIONS and (before is None or before.state != sample.state):
                count[sample.state] += 1
        return [[what, times] for what, times in count.items()]


async def page_lines(events: AsyncGenerator[Event, None], lines: PageLines) -> AsyncGenerator[bytes, None]:
    """The stream's bytes. What goes wrong before the first event is raised, what goes wrong later is said in the stream."""
    async with aclosing(events):
        event = await anext(events)
        yield line({"name": lines.name})
        told = -FRAME_SECONDS
        coming: asyncio.Task[Event] | None = None
        try:
            while not isinstance(event, Solved):
                lines.note(event)
                coming = asyncio.ensure_future(anext(events))  # type: ignore[arg-type]
                due = told + FRAME_SECONDS - time.monotonic()
                done, _ = await asyncio.wait({coming}, timeout=max(due, 0))
                if (not done or due <= 0) and (frame := lines.frame()):
                    told = time.monotonic()
                    yield frame
                event = await coming
            last = await asyncio.to_thread(lines.whole, event.solution)
        except Exception as error:
            last = line(as_api_error(error).body)
        finally:
            if coming is not None and not coming.done():
                coming.cancel()
                with suppress(asyncio.CancelledError, StopAsyncIteration):
                    await coming
        if frame := lines.frame():
            yield frame
        yield last


def line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode() + b"\n"
