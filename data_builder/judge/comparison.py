"""When an output counts as the expected one: equality, and the leniencies of the reference APPS harness, each with a name.

The reference is `eval/testing_util.py` of github.com/hendrycks/apps. Taken over are the rules below; three of its rules pass
wrong answers and are narrowed or left out: any first element of an expected list is accepted there, here only that of a
list of one element; 1000001 is near enough to 1000000 there, here an expected integer is met exactly; lines and words in
any order are accepted there, never here.

The functions return the name of the strictest rule that accepts, or None. Results are of exact types (see `wire`), so that `==`
says the truth about them. To compare hostile values can take long: it is done in an examiner's process.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from numbers import Number
from typing import Any

RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-8
# For a returned value where an integer is expected: the rounding error of a float, nothing more.
INTEGER_TOLERANCE = 1e-8
MAX_NUMBER_CHARACTERS = 400
SHORT = 300

RULES = {
    "equal": "equal in Python: numbers by value (1 == 1.0 == True == Decimal(1)), a frozenset to a set, a list to no tuple",
    "tuple-for-list": "tuples and lists count as each other, at every depth: JSON has no tuples",
    "integer-keys": "an expected dict with keys written as strings, as JSON has to, is met by one with integer keys",
    "wrapped": "an expected list of one element is met by that element: APPS wraps outputs so",
    "close": "an expected non-integer number is met within 1e-5 relative or 1e-8 absolute, an integer by a float within 1e-8",
    "same-text": "what was printed is the expected text, but for white space at both ends",
    "same-lines": "each line is the expected one, but for white space within and around it, and empty lines",
    "close-numbers": "as same-lines, but a word that is a number need only have the same value, or be close to a non-integer",
}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_INTEGER = re.compile(r"[+-]?\d+")


def compare_returned(result: Any, expected: Any) -> str | None:
    """The rule by which a returned value meets the expected one."""
    if _equal(result, expected):
        return "equal"
    for rule, keys, close in (("tuple-for-list", False, False), ("integer-keys", True, False), ("close", True, True)):
        if _matches(result, expected, keys, close):
            return rule
    if isinstance(expected, list) and len(expected) == 1 and _matches(result, expected[0], True, True):
        return "wrapped"
    return None


def compare_printed(output: str, expected: str) -> str | None:
    """The rule by which standard output meets the expected text."""
    if output.strip() == expected.strip():
        return "same-text"
    ours, theirs = _lines_of_words(output), _lines_of_words(expected)
    if ours == theirs:
        return "same-lines"
    if len(ours) == len(theirs) and all(map(_words_match, ours, theirs)):
        return "close-numbers"
    return None


def shortened(value: Any) -> str:
    """Text as it is, other values as Python writes them, cut where they are long."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints, or a value too deep
        return f"<{type(value).__name__} too large to print>"
    return text if len(text) <= SHORT else text[:SHORT] + f"... ({len(text)} characters)"


def _equal(result: Any, expected: Any) -> bool:
    try:
        return bool(result == expected)
    except (ArithmeticError, RecursionError, TypeError, ValueError):  # of what Python itself cannot compare
        return False


def _matches(result: Any, expected: Any, keys: bool, close: bool) -> bool:
    """Equal but for tuples and lists. `keys`: and for integers as keys in the place of text; `close`: within a tolerance."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(result, list | tuple)
            and len(result) == len(expected)
            and all(_matches(ours, theirs, keys, close) for ours, theirs in zip(result, expected, strict=True))
        )
    if isinstance(expected, dict) and isinstance(result, dict):
        if keys and result and all(type(key) is int for key in result):
            expected = {_as_integer(key): item for key, item in expected.items()}
        return len(result) == len(expected) and all(
            key in result and _matches(result[key], item, keys, close) for key, item in expected.items()
        )
    return _equal(result, expected) or (close and _is_close(result, expected))


def _is_close(result: Any, expected: Any) -> bool:
    """Within tolerance of a finite number. Two integers never are: they are equal or not."""
    if not isinstance(result, Number) or not isinstance(expected, Number):
        return False
    if isinstance(result, complex) or isinstance(expected, complex):
        ours, theirs = complex(result), complex(expected)  # type: ignore[call-overload]
        return _is_close(ours.real, theirs.real) and _is_close(ours.imag, theirs.imag)
    if isinstance(result, int) and isinstance(expected, int):
        return False
    try:
        ours, theirs = float(result), float(expected)  # type: ignore[arg-type]
    except (OverflowError, ValueError):  # a signalling NaN
        return False
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    if not isinstance(expected, int):
        return abs(ours - theirs) <= ABSOLUTE_TOLERANCE + RELATIVE_TOLERANCE * abs(theirs)
    # Beyond 2**53 floats are further apart than integers.
    return abs(theirs) < 2**53 and abs(ours - theirs) <= INTEGER_TOLERANCE


def _as_integer(key: Any) -> Any:
    return int(key) if isinstance(key, str) and len(key) < 20 and _INTEGER.fullmatch(key) else key


def _lines_of_words(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


def _words_match(ours: list[str], theirs: list[str]) -> bool:
    return len(ours) == len(theirs) and all(map(_word_matches, ours, theirs))


def _word_matches(ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    if max(len(ours), len(theirs)) > MAX_NUMBER_CHARACTERS or not (_NUMBER.fullmatch(ours) and _NUMBER.fullmatch(theirs)):
        return False
    if _INTEGER.fullmatch(theirs):
        return Decimal(ours) == Decimal(theirs)
    return _is_close(float(ours), float(theirs))
