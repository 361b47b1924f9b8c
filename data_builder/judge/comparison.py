"""When an output counts as the expected one: equality, and the leniencies of the reference APPS harness, each with a name.

The reference is `eval/testing_util.py` of github.com/hendrycks/apps. Taken over are the rules below; three of its rules pass
wrong answers and are narrowed or left out: any first element of an expected list is accepted there, here only that of a
list of one element; 1000001 is near enough to 1000000 there, here an expected integer is met exactly; lines and words in
any order are accepted there, never here.

The functions return the name of the strictest rule that accepts, or None.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

RELATIVE_TOLERANCE = 1e-5
ABSOLUTE_TOLERANCE = 1e-8
# For a returned value where an integer is expected: the rounding error of a float, nothing more.
INTEGER_TOLERANCE = 1e-8
MAX_NUMBER_CHARACTERS = 400

RULES = {
    "equal": "the same structure and values; numbers by value, as in Python (1 == 1.0 == True)",
    "tuple-for-list": "a returned tuple counts as a list, at every depth: JSON has no tuples",
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
    """The rule by which a returned value meets the expected one. `result` is of exact builtin types."""
    for rule, tuples, keys, close in (
        ("equal", False, False, False),
        ("tuple-for-list", True, False, False),
        ("integer-keys", True, True, False),
        ("close", True, True, True),
    ):
        if _matches(result, expected, tuples, keys, close):
            return rule
    if isinstance(expected, list) and len(expected) == 1 and _matches(result, expected[0], True, True, True):
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


def _matches(result: Any, expected: Any, tuples: bool, keys: bool, close: bool) -> bool:
    if isinstance(expected, bool | int | float | complex):
        if not isinstance(result, bool | int | float | complex):
            return False
        return bool(result == expected) or (close and _is_close(result, expected))
    if isinstance(expected, list | tuple):
        if type(result) is not type(expected) and not (tuples and isinstance(result, list | tuple)):
            return False
        return len(result) == len(expected) and all(
            _matches(ours, theirs, tuples, keys, close) for ours, theirs in zip(result, expected, strict=True)
        )
    if isinstance(expected, dict):
        if not isinstance(result, dict) or len(result) != len(expected):
            return False
        if keys and result and all(type(key) is int for key in result):
            expected = {_as_integer(key): item for key, item in expected.items()}
        return all(key in result and _matches(result[key], item, tuples, keys, close) for key, item in expected.items())
    return type(result) is type(expected) and bool(result == expected)


def _is_close(result: Any, expected: Any) -> bool:
    """Within tolerance of a finite number. Two integers never are: they are equal or not."""
    if isinstance(result, complex) or isinstance(expected, complex):
        ours, theirs = complex(result), complex(expected)
        return _is_close(ours.real, theirs.real) and _is_close(ours.imag, theirs.imag)
    if not isinstance(result, float) and not isinstance(expected, float):
        return False
    try:
        ours, theirs = float(result), float(expected)
    except OverflowError:
        return False
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    if isinstance(expected, float):
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
