"""The answer to a request of OpenAI's Responses API, whole or as its events."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..solution import Candidate, Solution
from .chat_request import ChatRequest
from .errors import as_api_error
from .responses import about
from .responses_request import ResponsesRequest
from .token_logprobs import chat_logprobs
from .tool_calls import CallReader, ToolCall

Finish = Callable[[str, str, list[ToolCall]], object]


class ResponsesAnswer:
    """One response. `finish` is told its id, content and calls, `count` how many tokens it has."""

    media_type = "text/event-stream"

    def __init__(
        self,
        asked: ResponsesRequest,
        chat: ChatRequest,
        model: str,
        tokenizer: Any,
        count: Callable[[int], object],
        finish: Finish,
    ) -> None:
        self._asked, self._toolbox, self._model, self._tokenizer = asked, chat.toolbox, model, tokenizer
        self._logprobs = bool(chat.logprobs)
        self._count, self._finish = count, finish
        self._id = f"resp_{secrets.token_hex(16)}"
        self._created = int(time.time())
        self._events = 0
        self._reader = CallReader(() if self._toolbox is None else self._toolbox.names)
        self._output: list[dict[str, Any]] = []
        self._open: dict[str, Any] | None = None  # the message whose text arrives

    def whole(self, solution: Solution) -> dict[str, Any]:
        for _ in self._read(solution.best.text, final=True):
            pass
        return self._ended(solution)

    def begun(self) -> bytes:
        response = self._response("in_progress")
        return self._sse("response.created", response=response) + self._sse("response.in_progress", response=response)

    def settled(self, text: str) -> bytes:
        return b"".join(self._read(text, final=False))

    def ended(self, solution: Solution) -> bytes:
        rest = b"".join(self._read("", final=True))
        response = self._ended(solution)
        return rest + self._sse(f"response.{response['status']}", response=response)

    def failed(self, error: Exception) -> bytes:
        told = as_api_error(error).body["error"]
        failure = {"code": told["code"] or "server_error", "message": told["message"]}
        return self._sse("response.failed", response=self._response("failed") | {"error": failure})

    # -- the output's items, and the events that tell them

    def _read(self, text: str, final: bool) -> Iterator[bytes]:
        parts = [text] if self._toolbox is None else self._reader.add(text, final)
        for part in parts:
            if isinstance(part, str):
                yield from self._text(part) if part else ()
            elif self._toolbox is not None and (self._toolbox.parallel or not self._calls):
                yield from self._close()
                yield from self._call(part)
        if final:
            if not self._output:
                yield from self._text("")
            yield from self._close()

    def _text(self, text: str) -> Iterator[bytes]:
        if self._open is None:
            item = {"type": "message", "id": f"msg_{secrets.token_hex(12)}", "role": "assistant", "status": "in_progress"}
            self._open = {**item, "content": []}
            self._output.append(self._open)
            yield self._sse("response.output_item.added", output_index=self._index, item=self._open)
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            yield self._sse("response.content_part.added", **self._place, part=part)
            self._open["content"] = [part]
        if text:
            self._open["content"][0]["text"] += text
            yield self._sse("response.output_text.delta", **self._place, delta=text, logprobs=[])

    def _close(self) -> Iterator[bytes]:
        if self._open is None:
            return
        part = self._open["content"][0]
        self._open["status"] = "completed"
        yield self._sse("response.output_text.done", **self._place, text=part["text"], logprobs=[])
        yield self._sse("response.content_part.done", **self._place, part=part)
        yield self._sse("response.output_item.done", output_index=self._index, item=self._open)
        self._open = None

    def _call(self, call: ToolCall) -> Iterator[bytes]:
        item = {"type": "function_call", "id": f"fc_{secrets.token_hex(12)}", "call_id": call.id, "name": call.name}
        self._output.append({**item, "arguments": call.arguments, "status": "completed"})
        place = {"output_index": self._index, "item_id": item["id"]}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield self._sse("response.output_item.added", output_index=self._index, item=begun)
        yield self._sse("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._sse("response.function_call_arguments.done", **place, arguments=call.arguments, name=call.name)
        yield self._sse("response.output_item.done", output_index=self._index, item=self._output[-1])

    @property
    def _index(self) -> int:
        return len(self._output) - 1

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": self._index, "content_index": 0}

    @property
    def _calls(self) -> list[ToolCall]:
        calls = [item for item in self._output if item["type"] == "function_call"]
        return [ToolCall(item["name"], item["arguments"], item["call_id"]) for item in calls]

    # -- the whole of it

    def _ended(self, solution: Solution) -> dict[str, Any]:
        best = solution.best
        messages = [item for item in self._output if item["type"] == "message"]
        if self._logprobs and messages:
            messages[0]["content"][0]["logprobs"] = (chat_logprobs(best, self._tokenizer))["content"]
        self._count(len(best.token_ids))
        self._finish(self._id, "".join(item["content"][0]["text"] for item in messages), self._calls)
        return self._response("completed" if best.complete else "incomplete") | self._told(solution, best)

    def _told(self, solution: Solution, best: Candidate) -> dict[str, Any]:
        used = {
            "input_tokens": solution.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": len(best.token_ids),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": solution.prompt_tokens + len(best.token_ids),
            "searched_tokens": solution.decoded_tokens,
        }
        cut = None if best.complete else {"reason": "max_output_tokens"}
        return {"output": self._output, "usage": used, "incomplete_details": cut, "guided": about(best)}

    def _response(self, status: str) -> dict[str, Any]:
        asked = self._asked
        text = asked.text.model_dump(by_alias=True, exclude_none=True) if asked.text is not None else {}
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "model": self._model,
            "output": [],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": asked.previous_response_id,
            "store": asked.store is not False,
            "temperature": asked.temperature,
            "text": {"format": {"type": "text"}} | text,
            "tool_choice": asked.model_dump()["tool_choice"] or "auto",
            "tools": [tool.model_dump() for tool in asked.tools or ()],
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None,
            "metadata": asked.metadata or {},
        }

    def _sse(self, kind: str, **data: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._events, **data}
        self._events += 1
        return f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode()
