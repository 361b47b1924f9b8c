import array
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import struct
import time
import types
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.judge.wire import WireError, decode, decode_frame, encode

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
HASHABLE = st.recursive(SCALARS, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6)
VALUES = st.recursive(
    SCALARS | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=5)
        | st.sets(HASHABLE, max_size=5)
    ),
    max_leaves=20,
)


def exact_types(value):
    """The exact types of a value and everything in it, in order."""
    if isinstance(value, dict):
        return type(value), [(exact_types(key), exact_types(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [exact_types(item) for item in value]
    return type(value)


@given(VALUES)
def test_every_plain_value_comes_back_equal_and_of_the_same_types(value):
    back = decode(encode(value))
    assert back == value
    assert exact_types(back) == exact_types(value)


def test_not_a_number_and_lone_surrogates_survive():
    assert math.isnan(decode(encode(float("nan"))))
    assert decode(encode("\ud800")) == "\ud800"


class LyingInt(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


Point = collections.namedtuple("Point", "x y")


class LyingList(list[Any]):
    def __eq__(self, other):
        return True

    def __iter__(self):
        return iter([LyingInt(1)] * 3)


class Colour(enum.IntEnum):
    RED = 7


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (LyingInt(5), 5),
        (LyingList([LyingInt(5)]), [5]),
        (Colour.RED, 7),
        (sympy.Integer(3), 3),
        (sympy.Rational(1, 2), fractions.Fraction(1, 2)),
        (sympy.Float(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.array(7), 7),
        (np.bool_(True), True),
        (Point(1, 2), (1, 2)),
    ],
)
def test_a_subclass_arrives_as_the_builtin_it_is_made_of(value, plain):
    back = decode(encode(value))
    assert exact_types(back) == exact_types(plain)
    assert back == plain


@pytest.mark.parametrize(
    "value",
    [
        range(2, 9, 3),
        slice(1, None),
        ...,
        NotImplemented,
        bytearray(b"ab"),
        collections.Counter("aab"),
        collections.OrderedDict([("b", [1]), ("a", {2})]),
        collections.defaultdict(None, {1: 2}),
        collections.deque([1, (2,)], 5),
        collections.ChainMap({1: 2}, {3: 4}),
        collections.UserDict({1: [2]}),
        collections.UserList([1, 2]),
        collections.UserString("ab"),
        types.MappingProxyType({1: 2}),
        types.SimpleNamespace(a=[1]),
        array.array("d", [1.5, 2.5]),
        pathlib.Path("/a/b"),
        decimal.Decimal("-0.10"),
        decimal.Decimal("-Infinity"),
        fractions.Fraction(-1, 3),
        datetime.timedelta(-1, 5, 7),
        datetime.date(2020, 2, 29),
        datetime.time(1, 2, 3, 4),
        datetime.datetime(2020, 2, 29, 5, 6, tzinfo=datetime.timezone(datetime.timedelta(hours=-3))),
    ],
    ids=repr,
)
def test_values_of_the_standard_library_come_back_as_themselves(value):
    back = decode(encode([value]))[0]
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)


def test_views_of_dicts_and_arrays_come_back_as_themselves():
    items = {"b": 1, "a": 2}
    for view in (items.keys(), items.values(), items.items()):
        back = decode(encode(view))
        assert type(back) is type(view)
        assert list(back) == list(view)
    for shown in (
        np.arange(6.0).reshape(2, 3),
        np.array(["a", "bc"]),
        np.array([[1], None], dtype=object),
        np.zeros((0, 2), bool),
    ):
        back = decode(encode(shown))
        assert back.dtype == shown.dtype and back.shape == shown.shape
        assert np.array_equal(back, shown)


@pytest.mark.parametrize(
    "value",
    [object(), iter([]), len, int, math, Colour, [1, object()]],
    ids=["object", "iterator", "function", "class", "module", "enum", "inside a list"],
)
def test_other_values_cannot_be_sent(value):
    with pytest.raises(WireError):
        encode(value)


def test_cycles_and_deep_values_cannot_be_sent_or_read():
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(WireError, match="nested"):
        encode(cycle)
    with pytest.raises(WireError, match="nested"):
        decode((b"l" + struct.pack("<I", 1)) * 100_000 + b"N")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"NN",
        b"i\x01\x00",
        b"s" + struct.pack("<I", 4_000_000_000) + b"abc",
        b"l" + struct.pack("<I", 4_000_000_000),
        b"d" + struct.pack("<I", 4_000_000_000) + b"NN",
        b"s" + struct.pack("<I", 1) + b"\xff",
        b"S" + struct.pack("<I", 1) + encode([]),
        b"d" + struct.pack("<I", 1) + encode({}) + b"N",
        b"x" + encode("collections.deque") + encode(5),
        b"x" + encode("os.system") + encode("ls"),
        b"x" + encode("decimal.Decimal") + encode("many"),
        b"x" + encode("numpy.ndarray") + encode(("<i8", (5,), [1])),
        b"x" + encode(["collections.deque"]) + b"N",
        b"r" + encode(("mine", 0)),
    ],
)
def test_malformed_bytes_are_refused(data):
    with pytest.raises(WireError):
        decode(data)


def test_size_is_capped_on_both_ways():
    with pytest.raises(WireError, match="more than 50 bytes"):
        encode("a" * 100, max_bytes=50)
    endless: list[Any] = []
    endless.append([endless, endless])
    with pytest.raises(WireError):
        encode(endless)


def test_a_frame_holds_scalars_only():
    frame = (None, True, -5, 2.5, 1j, "é", b"\x00")
    assert decode_frame(encode(frame)) == frame
    values: list[Any] = [[1], 1, ((),), ([],), ({},), ({1},), (range(3),)]
    for value in values:
        with pytest.raises(WireError, match="no frame"):
            decode_frame(encode(value))


@given(st.binary(max_size=200))
def test_random_bytes_are_a_plain_value_or_refused(data):
    try:
        value = decode(data)
    except WireError:
        return
    assert exact_types(decode(encode(value))) == exact_types(value)


@given(st.binary(max_size=200) | VALUES.map(encode))
def test_random_bytes_are_a_frame_or_refused(data):
    try:
        frame = decode_frame(data)
    except WireError:
        return
    assert {type(part) for part in frame} <= {type(None), bool, int, float, complex, str, bytes}


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"t" + struct.pack("<I", MEGABYTE) + b"N" * MEGABYTE,
        b"t" + struct.pack("<I", MEGABYTE // 5) + (b"s" + bytes(4)) * (MEGABYTE // 5),
        (b"t" + struct.pack("<I", 1)) * (MEGABYTE // 5),
        b"s" + struct.pack("<I", MEGABYTE) + b"\xc3" * MEGABYTE,
        b"x" * MEGABYTE,
    ],
    ids=["scalars", "texts", "tuples in tuples", "no text", "library types"],
)
def test_a_megabyte_takes_linear_time(data):
    start = time.monotonic()
    for read in (decode, decode_frame):
        with contextlib.suppress(WireError):
            read(data)
    assert time.monotonic() - start < 20
