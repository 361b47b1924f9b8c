"""GGUF files, read as they come: metadata, the list of tensors, and rows of a tensor as its blocks stand in the file.

The format is GGUF's own specification, versions 2 and 3, little-endian. A file is believed nothing: sizes are limited, every
count and offset is held against the file's length, and reading takes time linear in the header. Long lists (the vocabulary) are
stepped over and read when they are asked for. Nothing is mapped: a file that shrinks meanwhile is an error, not a signal.

Not covered: big-endian files, version 1, lists within lists, and models that are split over several files.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError

MAGIC = b"GGUF"
_FIRST_READ = 16 << 20
_MAX_HEADER = 128 << 20
_MAX_ENTRIES = 1 << 14  # metadata and tensors, each
_MAX_NAME = 1 << 10
_MAX_SIDE = 1 << 31
_SHORT = 256  # elements of a list that is read with the header

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

GGML_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210), 15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54), 35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}  # fmt: skip
"""GGML's number of a type -> its name, the numbers in a block, the bytes of a block."""


class _Short(Exception):
    """The bytes that were read of the header end in the middle of something."""


@dataclass(frozen=True)
class LongList:
    """A list in the metadata that was stepped over: `GgufFile.items` reads it."""

    kind: int
    count: int
    start: int
    stop: int


@dataclass(frozen=True)
class GgufTensor:
    """Where a tensor lies: `shape` as torch has it, the stored one reversed; `kind` is GGML's number of its type."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    bytes_per_row: int

    @property
    def type_name(self) -> str:
        return GGML_TYPES[self.kind][0]

    @property
    def n_rows(self) -> int:
        rows = 1
        for side in self.shape[:-1]:
            rows *= side
        return rows


class GgufFile:
    """An open file. `metadata` holds numbers, strings and short lists, and a `LongList` for each long one."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError where the file is none that is read, and OSError where it cannot be opened."""
        self.path = path
        self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.n_bytes = os.fstat(self._handle).st_size
            with self._explained():
                self.metadata, self.tensors = self._read_header()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def items(self, key: str) -> list[Any]:
        """A list of the metadata, whole. Raises ModelError where there is none of this name."""
        value = self.metadata.get(key)
        if isinstance(value, LongList):
            with self._explained():
                return _Cursor(self._bytes(value.start, value.stop - value.start)).elements(value.kind, value.count)
        if not isinstance(value, list):
            raise ModelError(f"{self.path} holds no list {key}")
        return value

    def rows(self, tensor: GgufTensor, first: int, count: int, into: np.ndarray | None = None) -> np.ndarray:
        """Rows `first`, `first` + 1, ... of a tensor of two dimensions as they are stored, uint8 [count, bytes_per_row].

        `into`: bytes to read them into, of which the result is a view. Any number of threads may read.
        """
        assert first >= 0 and first + count <= tensor.n_rows
        size = count * tensor.bytes_per_row
        data = np.empty(size, np.uint8) if into is None else into[:size]
        with self._explained():
            self._read(data, tensor.offset + first * tensor.bytes_per_row)
        return data.reshape(count, tensor.bytes_per_row)

    # -- the header

    def _read_header(self) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        size = min(self.n_bytes, _FIRST_READ)
        while True:
            try:
                return self._parse(_Cursor(self._bytes(0, size)))
            except _Short:
                if size == self.n_bytes:
                    raise ModelError("it ends in the middle of its header") from None
                if size >= _MAX_HEADER:
                    raise ModelError(f"its header is larger than {_MAX_HEADER >> 20} MB") from None
                size = min(self.n_bytes, _MAX_HEADER, 4 * size)

    def _parse(self, cursor: _Cursor) -> tuple[dict[str, Any], dict[str, GgufTensor]]:
        if bytes(cursor.take(4)) != MAGIC:
            raise ModelError("it is not a GGUF file")
        version = cursor.number("<I")
        if version not in (2, 3):
            big = version in (1 << 24, 2 << 24, 3 << 24)
            raise ModelError("it is big-endian" if big else f"it has version {version} of the format; 2 and 3 are read")
        n_tensors, n_entries = cursor.number("<Q"), cursor.number("<Q")
        if max(n_tensors, n_entries) > _MAX_ENTRIES:
            raise ModelError(f"it claims {n_tensors:,} tensors and {n_entries:,} entries of metadata")
        metadata: dict[str, Any] = {}
        for _ in range(n_entries):
            key = cursor.name()
            if key in metadata:
                raise ModelError(f"its metadata has two entries {key}")
            metadata[key] = cursor.value(cursor.number("<I"))
        described = [_Described.read(cursor) for _ in range(n_tensors)]
        start = _aligned(cursor.position, _alignment(metadata))
        tensors: dict[str, GgufTensor] = {}
        for one in described:
            if one.name in tensors:
                raise ModelError(f"it has two tensors {one.name}")
            tensors[one.name] = one.placed(start, _alignment(metadata), self.n_bytes)
        return metadata, tensors

    def _bytes(self, start: int, count: int) -> np.ndarray:
        data = np.empty(count, np.uint8)
        self._read(data, start)
        return data

    def _read(self, data: np.ndarray, start: int) -> None:
        view: Any = data.data
        done = 0
        while done < len(data):
            got = os.preadv(self._handle, [view[done : done + (1 << 30)]], start + done)
            if not got:
                raise ModelError("it ends too early")
            done += got

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            raise ModelError(f"{self.path} cannot be read as a model: {error}") from None


@dataclass(frozen=True)
class _Described:
    """A tensor as the header has it; its offset counts from the end of the header."""

    name: str
    sides: tuple[int, ...]
    kind: int
    offset: int

    @classmethod
    def read(cls, cursor: _Cursor) -> _Described:
        name, n_sides = cursor.name(), cursor.number("<I")
        if not 1 <= n_sides <= 4:
            raise ModelError(f"tensor {name} has {n_sides} dimensions")
        sides = tuple(cursor.number("<Q") for _ in range(n_sides))
        return cls(name, sides, cursor.number("<I"), cursor.number("<Q"))

    def placed(self, start: int, alignment: int, n_bytes: int) -> GgufTensor:
        if not all(1 <= side <= _MAX_SIDE for side in self.sides):
            raise ModelError(f"tensor {self.name} has the shape {list(self.sides)}")
        if self.kind not in GGML_TYPES:
            raise ModelError(f"tensor {self.name} has the type {self.kind}, which is not known here")
        type_name, columns, block = GGML_TYPES[self.kind]
        if self.sides[0] % columns:
            raise ModelError(f"tensor {self.name} has rows of {self.sides[0]} numbers, and blocks of {type_name} hold {columns}")
        bytes_per_row = self.sides[0] // columns * block
        tensor = GgufTensor(self.name, self.sides[::-1], self.kind, start + self.offset, bytes_per_row)
        if self.offset % alignment:
            raise ModelError(f"tensor {self.name} does not begin at a multiple of {alignment} bytes")
        if tensor.offset + tensor.n_rows * bytes_per_row > n_bytes:
            raise ModelError(f"tensor {self.name} lies beyond its end: it is cut off or broken")
        return tensor


class _Cursor:
    """Reads a header's parts one after the other. Raises _Short where the bytes do not suffice."""

    def __init__(self, data: np.ndarray) -> None:
        self._data: memoryview = data.data
        self.position = 0

    def take(self, count: int) -> memoryview:
        end = self.position + count
        if end > len(self._data):
            raise _Short
        part = self._data[self.position : end]
        self.position = end
        return part

    def number(self, layout: str) -> Any:
        try:
            (value,) = struct.unpack_from(layout, self._data, self.position)
        except struct.error:
            raise _Short from None
        self.position += struct.calcsize(layout)
        return value

    def string(self) -> str:
        return str(self.take(self.number("<Q")), "utf-8", "replace")

    def name(self) -> str:
        length = self.number("<Q")
        if length > _MAX_NAME:
            raise ModelError(f"a name in its header is {length:,} bytes long")
        return str(self.take(length), "utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY:
            raise ModelError(f"its metadata has a value of type {kind}")
        of, count = self.number("<I"), self.number("<Q")
        if of not in _SCALARS and of != _STRING:
            raise ModelError(f"its metadata has a list of type {of}")
        if count <= _SHORT:
            return self.elements(of, count)
        start = self.position
        self._skip(of, count)
        return LongList(of, count, start, self.position)

    def elements(self, kind: int, count: int) -> list[Any]:
        if kind == _STRING:
            return [self.string() for _ in range(count)]
        layout = np.dtype(_SCALARS[kind])
        return np.frombuffer(self.take(count * layout.itemsize), layout).tolist()

    def _skip(self, kind: int, count: int) -> None:
        if kind != _STRING:
            self.take(count * struct.calcsize(_SCALARS[kind]))
            return
        if 8 * count > len(self._data) - self.position:
            raise _Short
        length_at, data, position = struct.Struct("<Q").unpack_from, self._data, self.position
        try:
            for _ in range(count):
                position += 8 + length_at(data, position)[0]
        except (struct.error, OverflowError):
            raise _Short from None
        self.position = position
        self.take(0)


def _alignment(metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 20 or alignment & (alignment - 1):
        raise ModelError(f"its alignment is {alignment!r}")
    return alignment


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
