"""How the processes of sandboxes speak with the judge: frames (nonce, length, payload) on what were their standard streams.

Requests are the judge's own words and hold any value; replies are tuples of scalars. Runs inside; standard library only.
"""

from __future__ import annotations

import os
import struct

from . import confinement
from .wire import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_LIMIT = 1 << 32


class Line:
    """Made once, by the first process inside: descriptors 0, 1 and 2 become /dev/null. Its nonce comes with the first request."""

    def __init__(self) -> None:
        self.requests, self.replies = os.dup(0), os.dup(1)
        self.nonce = b""
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)

    def read(self) -> Any:
        """The next request. Does not return once the judge is gone, or done with this sandbox."""
        header = self._read_exactly(12)
        return decode(self._read_exactly(struct.unpack("<I", header[8:])[0]))

    def write(self, *frame: Any) -> None:
        """Reply with a tuple of scalars."""
        payload = encode(frame, NO_LIMIT)
        write_all(self.replies, self.nonce + struct.pack("<I", len(payload)) + payload)

    def _read_exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = os.read(self.requests, min(size - len(data), 1 << 20))
            if not chunk:
                confinement.end_stragglers()
                os._exit(0)
            data += chunk
        return bytes(data)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
