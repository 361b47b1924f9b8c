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
REFUSED = (400, 404, 422, 500, 501)  # how servers answer that have no log-probabilities


class Connection:
    """What all answers of a server share. `logprobs`: whether they are asked for, until it is known that there are none."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.logprobs = True
        self.places = threading.Semaphore(PARALLEL)
        self.news = threading.Condition()


class AnswerStream:
    """One answer. `take` and `close` are called by whoever searches, the rest is its thread's."""

    def __init__(self, connection: Connection, body: dict[str, Any]) -> None:
        self._connection, self._body = connection, body
        self._pieces: list[Piece] = []
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
                if not self._closed:
                    self._ask()
        except httpx.HTTPError as error:
            self._fail(f"the server at {self._connection.client.base_url} does not answer: {error}")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._fail(f"the server at {self._connection.client.base_url} does not speak OpenAI's API: {error}")

    def _fail(self, told: str) -> None:
        with self._connection.news:
            self.error = BackendError(told)
            self._connection.news.notify_all()

    def _ask(self) -> None:
        asked = self._connection.logprobs
        body = self._body | ({"logprobs": True} if asked else {})
        with self._connection.client.stream("POST", "chat/completions", json=body) as reply:
            if reply.is_success:
                self._follow(reply.iter_lines(), asked)
                return
            told = reply.read().decode("utf-8", "replace")
        if not asked or reply.status_code not in REFUSED:
            self._fail(f"the server at {self._connection.client.base_url} says {reply.status_code}: {_message(told)}")
            return
        self._connection.logprobs = False
        self._ask()

    def _follow(self, lines: Iterator[str], asked: bool) -> None:
        """Where log-probabilities were asked for and none came with the text yet, the text is held back until they do, or until
        the end, where some servers tell all of them.
        """
        held, ended = "", None
        for line in lines:
            if self._closed:
                return
            if not line.startswith("data:") or line[5:].strip() == "[DONE]":
                continue
            event = json.loads(line[5:])
            if "error" in event:
                self._fail(f"the server at {self._connection.client.base_url} says: {_message(json.dumps(event))}")
                return
            for choice in event.get("choices", [])[:1]:
                held += (choice.get("delta") or {}).get("content") or ""
                told = ((choice.get("logprobs") or {}).get("content")) or []
                ended = choice.get("finish_reason") or ended
                if held and (told or not asked):
                    self._add(pieces(held, told))
                    held = ""
        if held:
            self._connection.logprobs = False  # the next answers need not be held back
            self._add([(held, math.nan)])
        with self._connection.news:
            self.ended = ended or "length"
            self._connection.news.notify_all()

    def _add(self, new: list[Piece]) -> None:
        with self._connection.news:
            self._pieces += new
            self._connection.news.notify_all()


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
