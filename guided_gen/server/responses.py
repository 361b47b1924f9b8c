"""What a server answers: a search as OpenAI's API reports it, whole or as a stream whose text is never taken back."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Protocol

from ..engine.models.tokenizer import MidText
from ..solution import Candidate, Event, Progress, Settled, Solution, Solved
from .errors import as_api_error
from .requests import ChatRequest, CompletionRequest, SearchRequest

PING_SECONDS = 5.0  # between two signs of life while nothing is settled


class Encoder(Protocol):
    """How a stream says what happens, in bytes; nothing where it says nothing."""

    def begun(self) -> bytes: ...

    def event(self, event: Event) -> bytes: ...

    def failed(self, error: Exception) -> bytes: ...


async def encoded(events: AsyncGenerator[Event, None], encoder: Encoder) -> AsyncGenerator[bytes, None]:
    """A stream's bytes. What goes wrong before the first event is raised, what goes wrong later is said in the stream."""
    async with aclosing(events):
        event = await anext(events)
        try:
            if begun := encoder.begun():
                yield begun
            while not isinstance(event, Solved):
                if chunk := encoder.event(event):
                    yield chunk
                event = await anext(events)
            last = await asyncio.to_thread(encoder.event, event)
        except Exception as error:
            last = encoder.failed(error)
        yield last


class OpenAIAnswer:
    """The answer to one request, in the form of its endpoint: whole, or as server-sent events: the best answer as it settles,
    then the other choices, the usage if it was asked for, [DONE].
    """

    media_type = "text/event-stream"

    def __init__(self, request: SearchRequest, model: str, tokenizer: Any, count: Callable[[int], object]) -> None:
        """`count` is told how many tokens the returned answers have."""
        self._count = count
        self._request, self._model, self._tokenizer = request, model, tokenizer
        self._chat = isinstance(request, ChatRequest)
        self._id = ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12)
        self._created = int(time.time())
        self._said = time.monotonic()

    def whole(self, solution: Solution) -> dict[str, Any]:
        chosen = best_of(solution, self._request.wanted)
        choices = []
        for index, candidate in enumerate(chosen):
            text: dict[str, Any] = {"text": candidate.text}
            if self._chat:
                text = {"message": {"role": "assistant", "content": candidate.text, "refusal": None}}
            choices.append(
                {"index": index, **text, "logprobs": self._logprobs(candidate), "finish_reason": finish_reason(candidate)}
                | {"guided": _about(candidate)}
            )
        return self._envelope("", choices) | {"usage": self._usage(solution, chosen)}

    def begun(self) -> bytes:
        self._said = time.monotonic()
        return self._chunk(0, "", role=True)

    def event(self, event: Event) -> bytes:
        if isinstance(event, Solved):
            return self._last(event.solution)
        if isinstance(event, Settled):
            self._said = time.monotonic()
            return self._chunk(0, event.text)
        if isinstance(event, Progress) and time.monotonic() - self._said > PING_SECONDS:
            self._said = time.monotonic()
            return f": {event.live} growing, {event.finished} complete, {event.decoded_tokens} tokens\n\n".encode()
        return b""

    def failed(self, error: Exception) -> bytes:
        return _sse(as_api_error(error).body)

    def _last(self, solution: Solution) -> bytes:
        chosen = best_of(solution, self._request.wanted)
        chunks, used = [], self._usage(solution, chosen)
        for index, candidate in enumerate(chosen):
            if index:
                chunks.append(self._chunk(index, candidate.text, role=True))
            chunks.append(self._chunk(index, "", ended=candidate))
        options = self._request.stream_options
        if options is not None and options.include_usage:
            chunks.append(_sse(self._envelope(".chunk", []) | {"usage": used}))
        return b"".join([*chunks, b"data: [DONE]\n\n"])

    def _usage(self, solution: Solution, chosen: Sequence[Candidate]) -> dict[str, int]:
        """Tokens of the prompt, of the answers that are returned, and of the whole search, shared ones counted once."""
        completion = sum(len(candidate.token_ids) for candidate in chosen)
        self._count(completion)
        return {
            "prompt_tokens": solution.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": solution.prompt_tokens + completion,
            "searched_tokens": solution.decoded_tokens,
        }

    def _chunk(self, index: int, text: str, role: bool = False, ended: Candidate | None = None) -> bytes:
        choice: dict[str, Any] = {"index": index, "finish_reason": None, "logprobs": None}
        if self._chat:
            choice["delta"] = ({"role": "assistant"} if role else {}) | ({} if ended else {"content": text})
        else:
            choice["text"] = text
        if ended is not None:
            choice |= {"finish_reason": finish_reason(ended), "logprobs": self._logprobs(ended), "guided": _about(ended)}
        return _sse(self._envelope(".chunk", [choice]))

    def _envelope(self, suffix: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion" + suffix if self._chat else "text_completion"
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model, "choices": choices}

    def _logprobs(self, candidate: Candidate) -> dict[str, Any] | None:
        logprobs = [float(x) for x in candidate.logprobs]
        if isinstance(self._request, ChatRequest):
            if not self._request.logprobs:
                return None
            rows = zip(self._pieces(candidate), logprobs, candidate.values.tolist(), strict=True)
            return {
                "content": [
                    {"token": piece, "logprob": logprob, "bytes": _bytes(piece), "top_logprobs": [], "value": _number(value)}
                    for piece, logprob, value in rows
                ],
                "refusal": None,
            }
        if isinstance(self._request, CompletionRequest) and self._request.logprobs is None:
            return None
        pieces = self._pieces(candidate)
        offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
        return {"tokens": pieces, "token_logprobs": logprobs, "top_logprobs": None, "text_offset": offsets}

    def _pieces(self, candidate: Candidate) -> list[str]:
        tokens = candidate.token_ids.tolist()
        pieces = MidText(self._tokenizer).batch_decode([token] for token in tokens)
        if self._chat:  # the answer is a text of its own
            pieces[:1] = self._tokenizer.batch_decode([token] for token in tokens[:1])
        return pieces


def best_of(solution: Solution, count: int) -> list[Candidate]:
    """The best distinct answers; where the search has fewer, those drawn more than once again."""
    again = [candidate for candidate in solution.candidates for _ in range(candidate.multiplicity - 1)]
    return [*solution.candidates, *again][:count]


def finish_reason(candidate: Candidate) -> str:
    return "stop" if candidate.complete else "length"


def _about(candidate: Candidate) -> dict[str, Any]:
    """What the search knows of an answer beyond OpenAI's fields."""
    value = candidate.values[-1] if len(candidate.values) else math.nan
    return {
        "score": _number(candidate.score),
        "value": _number(float(value)),
        "ended": candidate.ended.name.lower(),
        "multiplicity": candidate.multiplicity,
        "examples": None if candidate.examples is None else {"passed": candidate.examples[0], "shown": candidate.examples[1]},
        "failure": None if candidate.failure is None else asdict(candidate.failure),
        "likelihood": None if candidate.likelihood is None else asdict(candidate.likelihood),
    }


def _sse(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _bytes(piece: str) -> list[int] | None:
    """None where the token is a part of a character."""
    return None if "\ufffd" in piece else list(piece.encode("utf-8", "replace"))


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinities."""
    return float(value) if math.isfinite(value) else None
