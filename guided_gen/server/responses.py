"""What a server answers: a search as OpenAI's API reports it, whole or as a stream whose text is never taken back."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Protocol

from ..solution import Candidate, Event, Progress, Settled, Solution, Solved
from .chat_request import ChatRequest
from .errors import as_api_error
from .requests import CompletionRequest, SearchRequest
from .token_logprobs import chat_logprobs, completion_logprobs
from .tool_calls import CallReader, ToolCall
from .tools import Toolbox

PING_SECONDS = 5.0  # between two signs of life while nothing is settled


class Encoder(Protocol):
    """How an answer is told in a stream, in bytes; nothing where there is nothing to tell."""

    def begun(self) -> bytes: ...

    def settled(self, text: str) -> bytes:
        """`text` comes next in the best answer."""
        ...

    def ended(self, solution: Solution) -> bytes: ...

    def failed(self, error: Exception) -> bytes: ...


async def encoded(events: AsyncGenerator[Event, None], encoder: Encoder) -> AsyncGenerator[bytes, None]:
    """A stream's bytes: server-sent events, and comments as signs of life. What goes wrong before the first event is raised, what
    goes wrong later is said in the stream.
    """
    async with aclosing(events):
        event = await anext(events)
        said = time.monotonic()
        try:
            if begun := encoder.begun():
                yield begun
            while not isinstance(event, Solved):
                chunk = b""
                if isinstance(event, Settled):
                    said, chunk = time.monotonic(), encoder.settled(event.text)
                elif isinstance(event, Progress) and time.monotonic() - said > PING_SECONDS:
                    told = f": {event.live} growing, {event.finished} complete, {event.decoded_tokens} tokens\n\n"
                    said, chunk = time.monotonic(), told.encode()
                if chunk:
                    yield chunk
                event = await anext(events)
            last = await asyncio.to_thread(encoder.ended, event.solution)
        except Exception as error:
            last = encoder.failed(error)
        yield last


class OpenAIAnswer:
    """The answer to one request, in the form of its endpoint: whole, or as server-sent events: the best answer as it settles,
    then the other choices, the usage if it was asked for, [DONE].
    """

    media_type = "text/event-stream"

    def __init__(
        self, request: SearchRequest, model: str, tokenizer: Any, count: Callable[[int], object], fingerprint: str | None = None
    ) -> None:
        """`count` is told how many tokens the returned answers have; `fingerprint` names what answers."""
        self._count = count
        self._request, self._model, self._tokenizer = request, model, tokenizer
        self._chat = isinstance(request, ChatRequest)
        self._id = ("chatcmpl-" if self._chat else "cmpl-") + secrets.token_hex(12)
        self._created = int(time.time())
        self._toolbox = request.toolbox
        self._fingerprint = fingerprint
        self._streams: dict[int, CallStream] = {}

    def whole(self, solution: Solution) -> dict[str, Any]:
        chosen = best_of(solution, self._request.wanted)
        choices = []
        for index, candidate in enumerate(chosen):
            text: dict[str, Any] = {"text": candidate.text}
            calls: Sequence[ToolCall] = ()
            if self._chat:
                content, calls = (candidate.text, ()) if self._toolbox is None else self._toolbox.read(candidate.text)
                text = {"message": message_of(content, calls)}
            choices.append({"index": index, **text} | self._ending(candidate, bool(calls)))
        return self._envelope("", choices) | {"usage": self._usage(solution, chosen)}

    def begun(self) -> bytes:
        return self._chunk(0, "", role=True)

    def settled(self, text: str) -> bytes:
        return self._text(0, text)

    def failed(self, error: Exception) -> bytes:
        return sse(as_api_error(error).body)

    def ended(self, solution: Solution) -> bytes:
        chosen = best_of(solution, self._request.wanted)
        chunks, used = [], self._usage(solution, chosen)
        for index, candidate in enumerate(chosen):
            if index:
                chunks += [self._chunk(index, "", role=True), self._text(index, candidate.text)]
            chunks += [self._text(index, "", final=True), self._chunk(index, "", ended=candidate)]
        options = self._request.stream_options
        if options is not None and options.include_usage:
            chunks.append(sse(self._envelope(".chunk", []) | {"usage": used}))
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

    def _text(self, index: int, text: str, final: bool = False) -> bytes:
        """Chunks with the next text of an answer: content, and calls once they are whole."""
        if self._toolbox is None:
            return self._chunk(index, text) if text else b""
        stream = self._streams.setdefault(index, CallStream(self._toolbox))
        deltas = stream.deltas(text, final)
        return b"".join(self._sent({"index": index, "delta": delta, "finish_reason": None, "logprobs": None}) for delta in deltas)

    def _chunk(self, index: int, text: str, role: bool = False, ended: Candidate | None = None) -> bytes:
        choice: dict[str, Any] = {"index": index, "finish_reason": None, "logprobs": None}
        if self._chat:
            choice["delta"] = ({"role": "assistant"} if role else {}) | ({} if ended else {"content": text})
        else:
            choice["text"] = text
        if ended is not None:
            choice |= self._ending(ended, index in self._streams and self._streams[index].calls > 0)
        return self._sent(choice)

    def _ending(self, candidate: Candidate, calls: bool) -> dict[str, Any]:
        logprobs = None
        if isinstance(self._request, ChatRequest) and self._request.logprobs:
            logprobs = chat_logprobs(candidate, self._tokenizer)
        if isinstance(self._request, CompletionRequest) and self._request.logprobs is not None:
            logprobs = completion_logprobs(candidate, self._tokenizer)
        reason = "tool_calls" if calls and candidate.complete else finish_reason(candidate)
        return {"logprobs": logprobs, "finish_reason": reason, "guided": about(candidate)}

    def _sent(self, choice: dict[str, Any]) -> bytes:
        return sse(self._envelope(".chunk", [choice]))

    def _envelope(self, suffix: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion" + suffix if self._chat else "text_completion"
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "system_fingerprint": self._fingerprint,
            "choices": choices,
        }


class CallStream:
    """The deltas of one answer that may call tools."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox, self._reader = toolbox, CallReader(toolbox.names)
        self.calls = 0

    def deltas(self, text: str, final: bool) -> Iterator[dict[str, Any]]:
        for part in self._reader.add(text, final):
            if isinstance(part, str):
                yield {"content": part}
            elif self._toolbox.parallel or not self.calls:
                called = {"index": self.calls, "id": part.id, "type": "function"}
                yield {"tool_calls": [called | {"function": {"name": part.name, "arguments": ""}}]}
                yield {"tool_calls": [{"index": self.calls, "function": {"arguments": part.arguments}}]}
                self.calls += 1


def message_of(content: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The assistant's message, as a chat has it."""
    message: dict[str, Any] = {"role": "assistant", "content": content if content or not calls else None, "refusal": None}
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls
        ]
    return message


def best_of(solution: Solution, count: int) -> list[Candidate]:
    """The best distinct answers; where the search has fewer, those drawn more than once again."""
    again = [candidate for candidate in solution.candidates for _ in range(candidate.multiplicity - 1)]
    return [*solution.candidates, *again][:count]


def finish_reason(candidate: Candidate) -> str:
    return "stop" if candidate.complete else "length"


def about(candidate: Candidate) -> dict[str, Any]:
    """What the search knows of an answer beyond OpenAI's fields."""
    value = candidate.values[-1] if len(candidate.values) else math.nan
    return {
        "score": number(candidate.score),
        "value": number(float(value)),
        "ended": candidate.ended.name.lower(),
        "multiplicity": candidate.multiplicity,
        "examples": None if candidate.examples is None else {"passed": candidate.examples[0], "shown": candidate.examples[1]},
        "failure": None if candidate.failure is None else asdict(candidate.failure),
        "likelihood": None if candidate.likelihood is None else asdict(candidate.likelihood),
    }


def sse(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def number(value: float) -> float | None:
    """JSON has no NaN and no infinities."""
    return float(value) if math.isfinite(value) else None
