"""One answer of a server as it comes: a thread reads it, and whoever searches takes what has come."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from typing import Any

import httpx

from ..errors import BackendError

Piece = tuple[str, float]  # its text and its mean log-probability, NaN where the server does not say
PARALLEL = 8  # answers that are asked for at once
TRIES = 3  # one at a time, of an answer that was broken off
REFUSED = (400, 404, 422, 500, 501)  # how servers answer that have no log-probabilities
# How log-probabilities are asked for, in this order: llama-cpp-python tells them only beside alternatives, others have none.
LOGPROBS: tuple[dict[str, Any], ...] = ({"logprobs": True, "top_logprobs": 1}, {"logprobs": True}, {})


class Connection:
    """What all answers of a server share. `logprobs`: how they are asked for, without what the server was seen to refuse.
    `breaks_off`: whether the server was seen to break an answer off to begin another, as llama-cpp-python does: from then on one
    is asked for at a time.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.logprobs = LOGPROBS
        self.breaks_off = False
        self.places = threading.Semaphore(PARALLEL)
        self.only_place = threading.Lock()
        self.news = threading.Condition()


class AnswerStream:
    """One answer. `take` and `close` are called by whoever searches, the rest is its thread's."""

    def __init__(self, connection: Connection, body: dict[str, Any]) -> None:
        self._connection, self._body = connection, body
        self._pieces: list[Piece] = []
        self._text = self._known = ""  # of all pieces so far; what of it is still to be told again
        self._closed = False
        self.ended: str | None = None  # the server's finish_reason
        self.error: BackendError | None = None
        threading.Thread(target=self._read, daemon=True, name="answer").start()

    def take(self, most: int) -> list[Piece]:
        """Up to so many pieces, in order, each once. Raises BackendError."""
        if self.error is not None:
            raise self.error
        taken, self._pieces[:most] = self._pieces[:most], []
        return taken

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        return bool(self._pieces)

    @property
    def waits(self) -> bool:
        """Whether nothing has come that was not taken."""
        return not self._pieces and self.ended is None and self.error is None

    def close(self) -> None:
        """Let go of it; the server notices when it next sends something."""
        self._closed = True

    # -- its thread's

    def _read(self) -> None:
        try:
            with self._connection.places:
                done = self._closed or (not self._connection.breaks_off and self._ask())
            for left in reversed(range(TRIES)):
                if not done:
                    self._connection.breaks_off = True
                    with self._connection.only_place:  # answers that were asked for before may still break it off
                        done = self._closed or self._ask(last=not left)
        except httpx.HTTPError as error:
            self._fail(f"the server at {self._connection.client.base_url} does not answer: {error}")
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            self._fail(f"the server at {self._connection.client.base_url} does not speak OpenAI's API: {error}")

    def _fail(self, told: str) -> None:
        with self._connection.news:
            self.error = BackendError(told)
            self._connection.news.notify_all()

    def _ask(self, last: bool = False) -> bool:
        """False where the server broke the answer off, and should be asked again, unless this was the `last` try."""
        ways = self._connection.logprobs
        with self._connection.client.stream("POST", "chat/completions", json=self._body | ways[0]) as reply:
            if reply.is_success:
                try:
                    return self._follow(reply.iter_lines(), bool(ways[0]), last)
                except httpx.RemoteProtocolError:
                    if last:
                        raise
                    return False
            told = reply.read().decode("utf-8", "replace")
        if not ways[0] or reply.status_code not in REFUSED:
            self._fail(f"the server at {self._connection.client.base_url} says {reply.status_code}: {_message(told)}")
            return True
        if self._connection.logprobs is ways:
            self._connection.logprobs = ways[1:]
        return self._ask(last)

    def _follow(self, lines: Iterator[str], asked: bool, last: bool) -> bool:
        """Where log-probabilities were asked for and none came with the text yet, the text is held back until they do, or until
        the end, where some servers tell all of them. What is told again of an answer that was broken off is skipped; one that now
        goes another way is cut, as is one that the `last` try leaves without an end.
        """
        self._known, held, ended = self._text, "", None
        for line in lines:
            if self._closed:
                return True
            if not line.startswith("data:") or line[5:].strip() == "[DONE]":
                continue
            event = json.loads(line[5:])
            if "error" in event:
                self._fail(f"the server at {self._connection.client.base_url} says: {_message(json.dumps(event))}")
                return True
            for choice in event.get("choices", [])[:1]:
                held += (choice.get("delta") or {}).get("content") or ""
                told = ((choice.get("logprobs") or {}).get("content")) or []
                ended = choice.get("finish_reason") or ended
                if held and (told or not asked):
                    if not self._add(pieces(held, told)):
                        return self._end("length")
                    held = ""
        if ended is None and not last:
            return False
        if held:
            self._connection.logprobs = LOGPROBS[-1:]  # the next answers need not be held back
            if not self._add([(held, math.nan)]):
                return self._end("length")
        return self._end(ended or "length")

    def _add(self, new: list[Piece]) -> bool:
        """False where the answer goes another way than it did before it was broken off."""
        with self._connection.news:
            for text, logprob in new:
                again = min(len(text), len(self._known))
                if text[:again] != self._known[:again]:
                    return False
                self._known, fresh = self._known[again:], text[again:]
                if fresh:
                    self._pieces.append((fresh, logprob))
                    self._text += fresh
            self._connection.news.notify_all()
        return True

    def _end(self, reason: str) -> bool:
        with self._connection.news:
            self.ended = reason
            self._connection.news.notify_all()
        return True


def pieces(text: str, told: list[dict[str, Any]]) -> list[Piece]:
    """`text` in the tokens that the server tells, with their log-probabilities; in one piece where these are not its tokens."""
    if not told:
        return [(text, math.nan)]
    tokens = [(str(one["token"]), float(one["logprob"])) for one in told]
    if "".join(token for token, _ in tokens).startswith(text):  # an end token may stand behind
        found, length = [], 0
        for token, logprob in tokens:
            if length < len(text):
                found.append((token[: len(text) - length], logprob))
            length += len(token)
        return found
    return [(text, sum(logprob for _, logprob in tokens) / len(tokens))]


def _message(told: str) -> str:
    """The sentence in an error of OpenAI's form, or the beginning of whatever it is."""
    try:
        return str(json.loads(told)["error"]["message"])[:300]
    except (ValueError, LookupError, TypeError):
        return told.strip()[:300]
