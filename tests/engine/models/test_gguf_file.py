"""What the reader finds is what the `gguf` package wrote; whatever else a file holds is one sentence."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest

from guided_gen.engine.errors import ModelError
from guided_gen.engine.models.gguf_file import GgufFile


def test_metadata_lists_and_tensors_are_those_that_were_written(tiny_gguf: Path) -> None:
    theirs = gguf.GGUFReader(tiny_gguf)
    with GgufFile(tiny_gguf) as file:
        assert file.metadata["general.architecture"] == "qwen2"
        assert file.metadata["qwen2.block_count"] == 2
        assert file.metadata["tokenizer.ggml.merges"] == ["d e", "de f"]
        for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
            assert file.items(key) == theirs.fields[key].contents()
        assert list(file.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            own = file.tensors[tensor.name]
            assert own.shape == tuple(tensor.shape[::-1].tolist())
            stored = file.rows(own, 0, own.n_rows)
            assert np.array_equal(stored.reshape(-1), np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1))
            last = file.rows(own, own.n_rows - 1, 1)
            assert np.array_equal(last, stored[-1:])


def test_two_readers_and_two_threads_share_a_file(tiny_gguf: Path) -> None:
    with GgufFile(tiny_gguf) as one, GgufFile(tiny_gguf) as two:
        tensor = one.tensors["token_embd.weight"]
        expected = one.rows(tensor, 0, tensor.n_rows)
        found: list[np.ndarray] = []
        threads = [threading.Thread(target=lambda: found.append(two.rows(tensor, 0, tensor.n_rows))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4 and all(np.array_equal(expected, rows) for rows in found)


def test_a_file_that_shrinks_is_an_error_when_it_is_read(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "shrinking.gguf"
    path.write_bytes(tiny_gguf.read_bytes())
    with GgufFile(path) as file:
        tensor = list(file.tensors.values())[-1]
        with path.open("r+b") as writer:
            writer.truncate(tensor.offset)
        with pytest.raises(ModelError, match=r"shrinking\.gguf cannot be read as a model: it ends too early"):
            file.rows(tensor, 0, 1)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.999])
def test_a_file_that_is_cut_off_is_one_sentence(share: float, tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    content = tiny_gguf.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError, match=r"cut.gguf cannot be read as a model: (it ends|.* lies beyond its end)") as caught:
        GgufFile(path)
    assert "\n" not in str(caught.value)


def header(*parts: bytes, tensors: int = 0, entries: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, entries) + b"".join(parts)


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def tensor(name: bytes = b"t", sides: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


ENTRY: Callable[[int, bytes], bytes] = lambda kind, value: string(b"k") + struct.pack("<I", kind) + value  # noqa: E731
BROKEN = {
    "another format": (b"GGML" + bytes(64), "not a GGUF file"),
    "version 1": (header(version=1), "version 1 of the format"),
    "big-endian": (header(version=3 << 24), "big-endian"),
    "tensors without end": (header(tensors=1 << 40), "claims 1,099,511,627,776 tensors"),
    "metadata without end": (header(entries=1 << 63), "entries of metadata"),
    "a name without end": (header(struct.pack("<Q", 1 << 60), entries=1), "a name in its header"),
    "a value without end": (header(ENTRY(8, struct.pack("<Q", (1 << 64) - 1)), entries=1), "ends in the middle"),
    "a list without end": (header(ENTRY(9, struct.pack("<IQ", 8, (1 << 64) - 1)), entries=1), "ends in the middle"),
    "numbers without end": (header(ENTRY(9, struct.pack("<IQ", 4, (1 << 62) + 5)), entries=1), "ends in the middle"),
    "strings that lead beyond": (
        header(ENTRY(9, struct.pack("<IQ", 8, 300) + 300 * struct.pack("<Q", 1 << 63)), entries=1),
        "ends in the middle",
    ),
    "a list of lists": (header(ENTRY(9, struct.pack("<IQ", 9, 1)), entries=1), "a list of type 9"),
    "a value of no type": (header(ENTRY(77, b""), entries=1), "a value of type 77"),
    "two equal entries": (header(2 * ENTRY(0, b"\1"), entries=2), "two entries k"),
    "no dimensions": (header(tensor(sides=()), tensors=1), "has 0 dimensions"),
    "an empty side": (header(tensor(sides=(32, 0)), bytes(999), tensors=1), "has the shape"),
    "an endless side": (header(tensor(sides=(1 << 62, 1 << 62)), bytes(999), tensors=1), "has the shape"),
    "a product that overflows": (header(tensor(sides=(1 << 31, 1 << 31, 1 << 31)), bytes(999), tensors=1), "lies beyond its end"),
    "an unknown type": (header(tensor(kind=200), bytes(999), tensors=1), "has the type 200"),
    "half a block": (header(tensor(sides=(33,), kind=8), bytes(999), tensors=1), "blocks of Q8_0 hold 32"),
    "an offset beyond": (header(tensor(offset=1 << 60), bytes(999), tensors=1), "lies beyond its end"),
    "an offset between": (header(tensor(offset=7), bytes(999), tensors=1), "multiple of 32"),
    "two equal tensors": (header(2 * tensor(), bytes(999), tensors=2), "two tensors t"),
    "an odd alignment": (
        header(string(b"general.alignment") + struct.pack("<II", 4, 48), tensor(), bytes(999), entries=1, tensors=1),
        "alignment is 48",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_file_is_one_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        GgufFile(path)
    assert "\n" not in str(caught.value)


MEGABYTE = 1 << 20
LARGE = {
    "empty texts": header(ENTRY(9, struct.pack("<IQ", 8, MEGABYTE // 8) + bytes(MEGABYTE)), entries=1),
    "a text of no characters": header(ENTRY(8, string(b"\xff" * MEGABYTE)), entries=1),
    "short lists": header(
        *(string(b"%d" % i) + struct.pack("<IIQ", 9, 8, 6) + bytes(48) for i in range(1 << 14)), entries=1 << 14
    ),
    "tensors": header(*(tensor(b"%d" % i) for i in range(1 << 14)), bytes(999), tensors=1 << 14),
    "zeros": header(bytes(MEGABYTE), entries=1 << 14),
}


@pytest.mark.parametrize("content", LARGE.values(), ids=list(LARGE))
def test_a_megabyte_of_header_takes_linear_time(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    path.write_bytes(content)
    start = time.monotonic()
    with suppress(ModelError), GgufFile(path) as file:
        assert len(file.metadata) + len(file.tensors) in (1, 1 << 14)
    assert time.monotonic() - start < 20
