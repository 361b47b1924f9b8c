"""Python values as bytes, and back to *exact* types: what crosses between the processes of the judge.

Covers None, bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict and the types of `library_types`, nested. A
value of a subclass is written as the type that it is made of, so that it arrives without an `__eq__` of its own; other numbers
are written as the int, fraction, float or complex that they say they are.

To make sets and dicts out of hostile bytes can take for ever (equal hashes). So only processes that hold nothing else do it,
those of sandboxes, and end with their limits. The judge's own process reads no more than frames, in linear time.
Standard library only; nothing here recurses. The code of this module also runs inside the sandbox.
"""

from __future__ import annotations

import struct
import sys

from . import library_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_BYTES = 8 << 20
# Far beyond what CPython itself compares or prints, and short of what overflows the stack where a nested tuple is hashed.
MAX_DEPTH = 10_000


class WireError(Exception):
    """A value that cannot be sent, or bytes that are no value within the caps."""


class TooLarge(WireError):
    """A value that takes more bytes than it may."""


def encode(value: Any, max_bytes: int = MAX_BYTES, refer: Callable[[Any], Any] | None = None) -> bytes:
    """`value` as tagged bytes. Raises `WireError` for other types, more than `max_bytes`, and deeper than MAX_DEPTH.

    refer: what to write of an object that is no value, and beside a value of a subclass. It may raise `WireError` too.
    """
    parts: list[bytes] = []
    size = depth = 0
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value is _END:
            depth -= 1
            continue
        scalar = _SCALARS.get(type(value))
        if scalar is not None:
            part = scalar(value)
        else:
            opened = _opened(value, refer)
            part = opened.part
            depth += 1
            waiting.append(_END)
            waiting.extend(reversed(opened.members))
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise TooLarge(f"a value of more than {max_bytes} bytes")
        if depth > MAX_DEPTH:
            raise WireError(f"a value nested deeper than {MAX_DEPTH}")
    return b"".join(parts)


def decode(data: bytes, resolve: Callable[[Any, Any], Any] | None = None) -> Any:
    """The value in `data`, which may take long to make: see above. Raises `WireError` for anything else, also for trailing bytes.

    resolve: makes what stands for an object, out of what `refer` gave; its first argument is None, or the value of a subclass.
    """
    return _read(data, resolve or _without_references, only_frames=False)


def decode_frame(data: bytes) -> tuple[Any, ...]:
    """The tuple of scalars in `data`. Raises `WireError` for anything else. Takes linear time, whatever the bytes."""
    frame = _read(data, _without_references, only_frames=True)
    if type(frame) is not tuple:
        raise WireError("a value that is no frame")
    return frame


class _Opened:
    """A value on its way out: its first bytes, and the members that have to follow."""

    __slots__ = ("members", "part")

    def __init__(self, part: bytes, members: list[Any]) -> None:
        self.part, self.members = part, members


_END = object()


def _opened(value: Any, refer: Callable[[Any], Any] | None) -> _Opened:
    """For a value of no exact scalar type."""
    kind = type(value)
    if isinstance(value, _Opened):
        return value
    if kind.__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _Opened(b"", [value.item()])
    for base in kind.__mro__:
        as_base = _as_type(value, base)
        if as_base is not None:
            if refer is None or base is kind or as_base.part == b"x":
                return as_base
            return _with_reference(value, as_base, refer)
    number = _as_number(value)
    if number is not None:
        return _Opened(b"", [number])
    if refer is None:
        raise WireError(f"a value of type {kind.__name__}")
    return _Opened(b"r", [refer(value)])


def _with_reference(value: Any, as_base: _Opened, refer: Callable[[Any], Any]) -> _Opened:
    try:
        return _Opened(b"u", [as_base, refer(value)])
    except WireError:
        return as_base


def _as_type(value: Any, kind: type) -> _Opened | None:
    """`value` written as one of its types, None if that is none of those that cross."""
    if kind in _SCALARS:
        return _Opened(_SCALARS[kind](value), [])
    if kind in _TAGS:
        members = list(kind.__iter__(value))  # type: ignore[attr-defined]
        return _Opened(_TAGS[kind] + _SIZE.pack(len(members)), members)
    if kind is dict:
        return _Opened(b"d" + _SIZE.pack(dict.__len__(value)), [part for item in dict.items(value) for part in item])
    told = library_types.told(value, kind)
    return None if told is None else _Opened(b"x", list(told))


def _as_number(value: Any) -> Any:
    """Numbers of other libraries (SymPy's, gmpy2's) by what they say they are. A program can lie only about its own."""
    numbers, kind = sys.modules.get("numbers"), type(value)
    if numbers is None or not issubclass(kind, numbers.Number):
        return None
    if issubclass(kind, numbers.Integral):
        return int(value)
    if issubclass(kind, numbers.Rational):
        numerator, denominator = int(value.numerator), int(value.denominator)
        return _Opened(b"x", ["fractions.Fraction", (numerator, denominator)])
    return float(value) if issubclass(kind, numbers.Real) else complex(value)


_SIZE = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + _SIZE.pack(len(content)) + content


def _integer(value: int) -> bytes:
    return _sized(b"i", int.to_bytes(value, int.bit_length(value) // 8 + 1, "little", signed=True))


_SCALARS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _integer,
    float: lambda value: b"f" + _FLOAT.pack(value),
    complex: lambda value: b"c" + _COMPLEX.pack(value.real, value.imag),
    str: lambda value: _sized(b"s", str.encode(value, "utf-8", "surrogatepass")),
    bytes: lambda value: _sized(b"b", value),
}
_TAGS: dict[type, bytes] = {list: b"l", tuple: b"t", set: b"S", frozenset: b"z"}

# By tag: how to make a scalar of so many bytes; how many bytes a scalar has and how to make it; how many values follow
# a container's tag, for each that it counts (minus) or once.
_MADE_OF_BYTES: dict[bytes, Callable[[bytes], Any]] = {
    b"i": lambda content: int.from_bytes(content, "little", signed=True),
    b"s": lambda content: content.decode("utf-8", "surrogatepass"),
    b"b": bytes,
}
_FIXED: dict[bytes, tuple[int, Callable[[bytes, int], Any]]] = {
    b"N": (0, lambda data, position: None),
    b"T": (0, lambda data, position: True),
    b"F": (0, lambda data, position: False),
    b"f": (8, lambda data, position: _FLOAT.unpack_from(data, position)[0]),
    b"c": (16, lambda data, position: complex(*_COMPLEX.unpack_from(data, position))),
}
_COUNTED = {b"l": 1, b"t": 1, b"S": 1, b"z": 1, b"d": 2}
_FOLLOWED = {b"x": 2, b"r": 1, b"u": 2}


class _Reading:
    """A container on its way in."""

    __slots__ = ("members", "tag", "wanted")

    def __init__(self, tag: bytes, wanted: int) -> None:
        self.tag = tag
        self.wanted = wanted
        self.members: list[Any] = []


def _read(data: bytes, resolve: Callable[[Any, Any], Any], only_frames: bool) -> Any:
    position = 0
    stack: list[_Reading] = []
    try:
        while True:
            tag = data[position : position + 1]
            position += 1
            if tag in _FIXED:
                size, make = _FIXED[tag]
                value = make(data, position)
                position += size
            elif tag in _MADE_OF_BYTES:
                start = position + _SIZE.size
                position = start + _SIZE.unpack_from(data, position)[0]
                if position > len(data):
                    raise WireError("a value cut short")
                value = _MADE_OF_BYTES[tag](data[start:position])
            else:
                if only_frames and (stack or tag != b"t"):
                    raise WireError("a value that is no frame")
                opened, position = _opening(tag, data, position)
                stack.append(opened)
                if len(stack) > MAX_DEPTH:
                    raise WireError(f"a value nested deeper than {MAX_DEPTH}")
                if opened.wanted:
                    continue
                value = _closed(stack.pop(), resolve)
            while stack:
                stack[-1].members.append(value)
                if len(stack[-1].members) < stack[-1].wanted:
                    break
                value = _closed(stack.pop(), resolve)
            else:
                break
    except (struct.error, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, ImportError) as error:
        raise WireError(f"malformed value: {error}") from None
    if position != len(data):
        raise WireError("trailing bytes after the value")
    return value


def _opening(tag: bytes, data: bytes, position: int) -> tuple[_Reading, int]:
    """The container that begins here and the position of its first member. Its size is checked before anything is made."""
    if tag in _COUNTED:
        opened = _Reading(tag, _COUNTED[tag] * _SIZE.unpack_from(data, position)[0])
        position += _SIZE.size
    elif tag in _FOLLOWED:
        opened = _Reading(tag, _FOLLOWED[tag])
    else:
        raise WireError(f"an unknown tag {tag!r}")
    if opened.wanted > len(data) - position:
        raise WireError("a value cut short")
    return opened, position


def _closed(container: _Reading, resolve: Callable[[Any, Any], Any]) -> Any:
    members = container.members
    match container.tag:
        case b"l":
            return members
        case b"t":
            return tuple(members)
        case b"S":
            return set(members)
        case b"z":
            return frozenset(members)
        case b"d":
            return dict(zip(members[::2], members[1::2], strict=True))
        case b"x":
            return library_types.made(*members)
        case b"r":
            return resolve(None, *members)
        case _:
            return resolve(*members)


def _without_references(value: Any, reference: Any) -> Any:
    raise WireError("a reference, where there are none")
