"""The conversations that `previous_response_id` goes on with: the newest ones, within a bound in bytes."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any

from .errors import ApiError

MOST_BYTES = 32 << 20  # of all conversations together
_BESIDE = 500  # bytes that holding one takes beside its text


class Conversations:
    """Messages by the id of the response that ended them; those that were not asked for longest are forgotten first. Safe to
    use from several threads.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def messages(self, response: str) -> list[dict[str, Any]]:
        """Raises ApiError where it is not, or no longer, held."""
        with self._lock:
            if response not in self._held:
                told = f"there is no response {response[:100]!r} here, or no longer: send the whole conversation"
                raise ApiError(400, told, param="previous_response_id", code="previous_response_not_found")
            self._held.move_to_end(response)
            data = self._held[response]
        messages: list[dict[str, Any]] = json.loads(data)
        return messages

    def hold(self, response: str, messages: list[dict[str, Any]]) -> None:
        """Forgets older ones to make room; one that is larger than all the room is not held."""
        data = json.dumps(messages).encode()
        if len(data) + _BESIDE > self._most:
            return
        with self._lock:
            self._held[response] = data
            self._bytes += len(data) + _BESIDE
            while self._bytes > self._most:
                self._bytes -= len(self._held.popitem(last=False)[1]) + _BESIDE
