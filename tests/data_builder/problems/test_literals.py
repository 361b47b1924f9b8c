"""A literal is read back whatever its notation; what is none, or goes on, is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.problems.literals import read_literal

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.sets(st.text(max_size=4) | st.integers(2), min_size=1, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES, st.sampled_from(["", " ", "\n", ".", ", so", ";", ")"]))
def test_what_python_prints_is_read_back(value, after):
    source = repr(value)
    if "\\" in source or any(mark in source for mark in "\u2028\u2029"):
        return
    assert read_literal(f"x = {source}{after}", 3) == (value, 4 + len(source))


@given(st.lists(st.integers() | st.sampled_from([True, None]), min_size=2, max_size=5))
def test_lists_of_other_languages_are_lists(items):
    spoken = ["true" if item is True else "null" if item is None else str(item) for item in items]
    for text in (
        f"[{', '.join(spoken)}]",
        f"[{'; '.join(spoken)}]",
        f"[{' '.join(spoken)}]",
        f"new int[]{{{','.join(spoken)}}}",
        f"vec![{','.join(spoken)}]",
        f"Arrays.asList({','.join(spoken)})",
        f"List.of({','.join(spoken)})",
        f"std::vector<int>{{{','.join(spoken)}}}",
    ):
        assert read_literal(text, 0) == (items, len(text))
    braces = f"{{{','.join(spoken)}}}"
    assert read_literal(braces, 0, "list") == (items, len(braces))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{1, 2}", {1, 2}),
        ("{1, 1}", [1, 1]),
        ("{[1], [2]}", [[1], [2]]),
        ("set([1, 2])", {1, 2}),
        ("{}", {}),
        ("()", ()),
        ("(1,)", (1,)),
        ("(1)", 1),
        ("{a: 1}", {"a": 1}),
        ('{"a" => [1]}', {"a": [1]}),
        ("{:a => nil}", {"a": None}),
        ("0xff", 255),
        ("10L", 10),
        ("3.0f", 3.0),
        ("1_000", 1000),
        ("−4", -4),
        ("'a\\*b'", "a*b"),
        ("'\\d+'", "\\d+"),
        ("b'x'", b"x"),
    ],
)
def test_other_notations(text, value):
    assert read_literal(text, 0) == (value, len(text))


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "x",
            "1,000",
            "0.5...",
            "0.5…",
            "007",
            "2nd",
            "'it's'",
            "[1, 2",
            "[1, 2)",
            "[1,, 2]",
            "[, 1]",
            "[1, 2, ...]",
            "[1 [2]]",
        ],
        *["{1: 2, 3}", "1e999", "inf", "nan", "3j", "[1; 2, 3]", "'open", "f(1)", "True(1)", "None.x", "9" * 5000, "[" * 100],
        *["{[1]: 2}", "set([[1]])", "'\\u12'"],
    ],
)
def test_what_is_no_literal(text):
    assert read_literal(text, 0) is None


def test_an_empty_pair_of_braces_is_nothing_sure_in_another_language():
    assert read_literal("{}", 0, "list") is None
