import collections
import enum
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.judge import wire
from guided_gen.data_builder.judge.wire import WireError, decode, encode

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


def types(value):
    """The exact types of a value and everything in it, in order."""
    if isinstance(value, dict):
        return type(value), [(types(key), types(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [types(item) for item in value]
    return type(value)


@given(VALUES)
def test_every_plain_value_comes_back_equal_and_of_the_same_types(value):
    back = decode(encode(value))
    assert back == value
    assert types(back) == types(value)


def test_not_a_number_and_lone_surrogates_survive():
    assert math.isnan(decode(encode(float("nan"))))
    assert decode(encode("\ud800")) == "\ud800"


class LyingInt(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


class LyingList(list):
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
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.namedtuple("P", "x y")(1, 2), (1, 2)),
        (bytearray(b"ab"), b"ab"),
    ],
)
def test_a_subclass_arrives_as_the_builtin_it_is_made_of(value, plain):
    back = decode(encode(value))
    assert types(back) == types(plain)
    assert back == plain


@pytest.mark.parametrize("value", [object(), range(3), iter([]), len, 1 << (8 * wire.MAX_INT_BYTES + 8)], ids=type)
def test_other_values_cannot_be_sent(value):
    with pytest.raises(WireError):
        encode(value)


def test_cycles_and_deep_values_cannot_be_sent_or_read():
    cycle = []
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
        b"i" + struct.pack("<I", wire.MAX_INT_BYTES + 1) + b"1" * (wire.MAX_INT_BYTES + 1),
    ],
)
def test_malformed_bytes_are_refused(data):
    with pytest.raises(WireError):
        decode(data)


def test_size_and_hashed_items_are_capped_before_anything_is_built():
    with pytest.raises(WireError, match="bytes"):
        decode(encode("a" * 100), max_bytes=50)
    many = b"S" + struct.pack("<I", wire.MAX_HASHED_ITEMS + 1) + b"N" * (wire.MAX_HASHED_ITEMS + 1)
    with pytest.raises(WireError, match="items"):
        decode(many)
    shared = b"l" + struct.pack("<I", 3) + 3 * encode(dict.fromkeys(range(wire.MAX_HASHED_ITEMS // 2)))
    with pytest.raises(WireError, match="items"):
        decode(shared)


@given(st.binary(max_size=200))
def test_random_bytes_are_a_plain_value_or_refused(data):
    try:
        value = decode(data)
    except WireError:
        return
    assert types(decode(encode(value))) == types(value)
