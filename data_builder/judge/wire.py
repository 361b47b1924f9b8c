"""Plain Python values as bytes, and back to *exact* builtin types: what crosses between the judge and a program's process.

Covers None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset and dict, nested. A subclass is written as the
builtin that it is made of, so that a value with an `__eq__` of its own arrives without it. `decode` treats its input as
hostile: size, depth, digits and hashed items are capped before anything is built. Standard library only: the code of this
module also runs inside the sandbox.
"""

from __future__ import annotations

import struct
from typing import Any

MAX_BYTES = 8 << 20
MAX_DEPTH = 64
# About 20,000 decimal digits. Longer integers have no place in a test, and printing them takes quadratic time.
MAX_INT_BYTES = 8192
# Sets and dicts of integers with equal hashes cost quadratic time to build: this many, about a second.
MAX_HASHED_ITEMS = 10_000

_CONTAINERS: dict[bytes, type] = {b"l": list, b"t": tuple, b"S": set, b"z": frozenset}
_TAGS = {kind: tag for tag, kind in _CONTAINERS.items()}


class WireError(Exception):
    """A value that cannot be sent, or bytes that are no value within the caps."""


def encode(value: Any) -> bytes:
    """`value` as tagged bytes. Raises `WireError` for other types, cycles and values deeper than `MAX_DEPTH`."""
    parts: list[bytes] = []
    _write(value, parts, 0)
    return b"".join(parts)


def decode(data: bytes, max_bytes: int = MAX_BYTES, max_hashed_items: int = MAX_HASHED_ITEMS) -> Any:
    """The value in `data`, made of exact builtin types only. Raises `WireError` for anything else, also for trailing bytes."""
    if len(data) > max_bytes:
        raise WireError(f"a value of {len(data)} bytes, more than {max_bytes}")
    reader = _Reader(data, max_hashed_items)
    try:
        value = reader.value(0)
    except (struct.error, UnicodeDecodeError, TypeError) as error:
        raise WireError(f"malformed value: {error}") from None
    if reader.position != len(data):
        raise WireError("trailing bytes after the value")
    return value


def _write(value: Any, parts: list[bytes], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise WireError(f"a value nested deeper than {MAX_DEPTH}")
    if value is None or value is True or value is False:
        parts.append({None: b"N", True: b"T", False: b"F"}[value])
    elif isinstance(value, int):
        number = int.__index__(value)
        size = number.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise WireError(f"an integer of {number.bit_length()} bits")
        parts.append(b"i" + struct.pack("<I", size) + number.to_bytes(size, "little", signed=True))
    elif isinstance(value, float):
        parts.append(b"f" + struct.pack("<d", value))
    elif isinstance(value, complex):
        parts.append(b"c" + struct.pack("<dd", value.real, value.imag))
    elif isinstance(value, str):
        text = str.encode(value, "utf-8", "surrogatepass")
        parts.append(b"s" + struct.pack("<I", len(text)) + text)
    elif isinstance(value, bytes | bytearray):
        parts.append(b"b" + struct.pack("<I", len(value)) + bytes(value))
    elif isinstance(value, dict):
        items = list(dict.items(value))
        parts.append(b"d" + struct.pack("<I", len(items)))
        for key, item in items:
            _write(key, parts, depth + 1)
            _write(item, parts, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        kind: Any = next(kind for kind in _TAGS if isinstance(value, kind))
        members = list(kind.__iter__(value))
        parts.append(_TAGS[kind] + struct.pack("<I", len(members)))
        for member in members:
            _write(member, parts, depth + 1)
    elif type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        _write(value.item(), parts, depth + 1)
    else:
        raise WireError(f"a value of type {type(value).__name__}")


class _Reader:
    def __init__(self, data: bytes, max_hashed_items: int) -> None:
        self.data = data
        self.max_hashed_items = max_hashed_items
        self.position = 0
        self.hashed = 0

    def take(self, size: int) -> bytes:
        chunk = self.data[self.position : self.position + size]
        if len(chunk) != size:
            raise WireError("a value cut short")
        self.position += size
        return chunk

    def size(self, smallest: int, hashed: bool = False) -> int:
        """A count of things that take at least `smallest` bytes each, checked against what is left before any is read."""
        (count,) = struct.unpack("<I", self.take(4))
        if count * smallest > len(self.data) - self.position:
            raise WireError("a value cut short")
        if hashed:
            self.hashed += count
            if self.hashed > self.max_hashed_items:
                raise WireError(f"more than {self.max_hashed_items} items in sets and dicts")
        return int(count)

    def value(self, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise WireError(f"a value nested deeper than {MAX_DEPTH}")
        tag = self.take(1)
        if tag in (b"N", b"T", b"F"):
            return {b"N": None, b"T": True, b"F": False}[tag]
        if tag == b"i":
            size = self.size(1)
            if size > MAX_INT_BYTES:
                raise WireError(f"an integer of {size} bytes, more than {MAX_INT_BYTES}")
            return int.from_bytes(self.take(size), "little", signed=True)
        if tag == b"f":
            return struct.unpack("<d", self.take(8))[0]
        if tag == b"c":
            return complex(*struct.unpack("<dd", self.take(16)))
        if tag == b"s":
            return self.take(self.size(1)).decode("utf-8", "surrogatepass")
        if tag == b"b":
            return self.take(self.size(1))
        if tag == b"d":
            count = self.size(2, hashed=True)
            return {self.value(depth + 1): self.value(depth + 1) for _ in range(count)}
        if tag in _CONTAINERS:
            count = self.size(1, hashed=tag in (b"S", b"z"))
            return _CONTAINERS[tag]([self.value(depth + 1) for _ in range(count)])
        raise WireError(f"an unknown tag {tag!r}")
