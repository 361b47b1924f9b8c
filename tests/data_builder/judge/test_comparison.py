import math

import pytest

from guided_gen.data_builder.judge.comparison import RULES, compare_printed, compare_returned

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("result", "expected", "rule"),
    [
        ([1, "a", None], [1, "a", None], "equal"),
        (1.0, 1, "equal"),
        (True, 1, "equal"),
        ({1, 2}, {2, 1}, "equal"),
        (INF, INF, "equal"),
        ((1, (2, 3)), [1, [2, 3]], "tuple-for-list"),
        ({1: "a", -2: "b"}, {"1": "a", "-2": "b"}, "integer-keys"),
        ([{1: (2,)}], [{"1": [2]}], "integer-keys"),
        (0.1 + 0.2, 0.3, "close"),
        ([1.000001], [1.0], "close"),
        (3.0000000001, 3, "close"),
        (5, [5], "wrapped"),
        ((1, 2), [[1, 2]], "wrapped"),
        (0.1 + 0.2, [0.3], "wrapped"),
    ],
)
def test_a_returned_value_is_accepted_by_the_strictest_rule(result, expected, rule):
    assert rule in RULES
    assert compare_returned(result, expected) == rule


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (1, 2),
        ("1", 1),
        (1, "1"),
        ("a ", "a"),
        (None, 0),
        (None, False),
        (b"a", "a"),
        ([1, 2], [2, 1]),
        ([1], [1, 2]),
        (1, [1, 2]),
        ([5], 5),
        ({1, 2}, [1, 2]),
        ([1, 2], {1, 2}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({1.0: 2}, {"1": 2}),
        (1000001, 1000000),
        (1000001.0, 1000000),
        (3.001, 3),
        (1.01, 1.0),
        (2**53 + 1, float(2**53)),
        (float(2**60), 2**60 + 1),
        (10**400, 1.0),
        ("", []),
        (0, []),
    ],
)
def test_a_wrong_value_is_refused(result, expected):
    if (result, expected) == (2**53 + 1, float(2**53)):
        # An expected float has only that many digits.
        assert compare_returned(result, expected) == "close"
        return
    assert compare_returned(result, expected) is None


@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("expected", [0, 0.0, 1.5, 1e308, 10**18, NAN])
def test_nothing_is_near_to_not_a_number_or_infinity(odd, expected):
    assert compare_returned(odd, expected) is None
    assert compare_returned([float(str(odd))], [expected]) is None  # another object, as a result is
    assert compare_printed(str(odd), str(expected)) is None or math.isnan(odd)
    if not isinstance(expected, float) or not math.isnan(expected):
        assert compare_returned(expected, odd) is None


@pytest.mark.parametrize(
    ("output", "expected", "rule"),
    [
        ("3\n", "3", "same-text"),
        ("", "\n", "same-text"),
        ("1  2 \n\n3", "1 2\n3\n", "same-lines"),
        ("1\r\n2\r\n", "1\n2\n", "same-lines"),
        ("0.333333333", "0.33333333", "close-numbers"),
        ("Case 1: 2.50", "Case 1: 2.5", "close-numbers"),
        ("3.0", "3", "close-numbers"),
        ("1e3", "1000.0", "close-numbers"),
    ],
)
def test_printed_text_is_accepted_by_the_strictest_rule(output, expected, rule):
    assert rule in RULES
    assert compare_printed(output, expected) == rule


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", "0"),
        ("PASSED", "3"),
        ("3 4", "3\n4"),
        ("4\n3", "3\n4"),
        ("2 1", "1 2"),
        ("yes", "YES"),
        ("1000001", "1000000"),
        ("1000000.4", "1000000"),
        ("9007199254740992.0", "9007199254740993"),
        ("0.34", "0.33"),
        ("1_0", "10"),
        ("nan", "0.5"),
        ("inf", "0.5"),
        ("1e9999", "1e9998"),
        ("1.0" + "0" * 1000, "1.0"),
        ("3\n3", "3"),
    ],
)
def test_other_text_is_refused(output, expected):
    assert compare_printed(output, expected) is None
