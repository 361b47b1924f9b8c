"""Examples whose parts have labels: `Input: n = 2` and `Output: 4`, on one line or several."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .interface import Interface
from .result_text import END_OF_LINE, Found, read_result
from .value_forms import NEW_LINES, Values, read_values

KINDS = r"(?:[ \t]+(?:array|list|string|number|integer|value|data|matrix|word|text|is|are|should be))*"
# A number is the example's where a colon follows, or something other than the output's label in the next line.
NUMBER = r"(?:\#?\d+(?=[ \t]*:|[ \t]*\n\s*(?!out|result|return|expected|answer)\S))?"
AFTER_LABEL = rf"[ \t]*{NUMBER}[ \t*_\]]*(?::|=(?!=)|//+|-+>|[–—-](?!\d))?[ \t]*"
BEFORE_LABEL = (
    r"^[^\w\n\"'\[({]{0,8}(?:(?:e\.g\.?|for example|(?:example|sample|test)s?(?:[ \t]+case)?)[ \t]*\d*[ \t]*[:.,-]?[ \t]*)?\[?"
)
INPUT = re.compile(
    rf"{BEFORE_LABEL}(?:an? |the |your )?\b(?:input|argument|parameter)s?\b{KINDS}{AFTER_LABEL}", re.MULTILINE | re.IGNORECASE
)
OUTPUT_WORD = r"\b(?:output|ou\w{1,3}ut|result|returns?|return value|expected|answer)s?\b"
OUTPUT_WORDS = f"(?:the |your |expected |correct |actual )*{OUTPUT_WORD}{KINDS}"
OUTPUT = re.compile(OUTPUT_WORDS + AFTER_LABEL, re.IGNORECASE)
OUTPUT_LINE = re.compile(f"{BEFORE_LABEL}{OUTPUT_WORDS}{AFTER_LABEL}", re.MULTILINE | re.IGNORECASE)
TO_OUTPUT = re.compile(r"[ \t]*(?:[,;|.]|[-=]+>|→|\band\b)?[ \t]*", re.IGNORECASE)
MAX_LINES_BETWEEN = 6
MAX_LINE = 2000


def labelled_forms(text: str, interface: Interface) -> Iterator[Found]:
    """All examples in `text` that label the values for the parameters of `interface` and the result."""
    for label in INPUT.finditer(text):
        given = read_values(text, label.end())
        output = _output_label(text, given.end) if given.values else None
        found = _pair(text, label, given, output, interface) if output else _unquoted(text, label, interface)
        if found:
            yield found


def _output_label(text: str, end: int) -> re.Match[str] | None:
    """The label of the output after an input that ends at `end`: on the same line, or at the beginning of one soon below."""
    between = TO_OUTPUT.match(text, end)
    if between and (here := OUTPUT.match(text, between.end())):
        return here
    line = text.find("\n", end) + 1
    if not END_OF_LINE.match(text, end):
        return None
    for _ in range(MAX_LINES_BETWEEN):
        if not line or INPUT.match(text, line):
            return None
        if found := OUTPUT_LINE.match(text, line):
            return found
        line = text.find("\n", line) + 1
    return None


def _pair(text: str, label: re.Match[str], given: Values, output: re.Match[str], interface: Interface) -> Found | None:
    lines = NEW_LINES.match(text, output.end())
    at = lines.end() if lines else output.end()
    args = given.arguments(interface)
    result = read_result(text, at, interface, "list") or read_result(text, at, interface)
    if args is not None:
        return Found(interface.name, args, result[0], label.start(), result[1], 2) if result else None
    if len(interface.parameters) == 1 and len(given.values) > 1 and not any(given.names):
        return _bare_lists(text, label.start(), given.values, at, interface)
    return None


def _bare_lists(text: str, start: int, given: list[Any], at: int, interface: Interface) -> Found | None:
    """`Input: 1, 2, 3` / `Output: 3, 2, 1` for lists without brackets."""
    args, wanted = interface.bound([given]), read_values(text, at)
    if args is None or len(wanted.values) < 2 or not interface.gives(wanted.values) or not END_OF_LINE.match(text, wanted.end):
        return None
    return Found(interface.name, args, wanted.values, start, wanted.end, 2)


def _unquoted(text: str, label: re.Match[str], interface: Interface) -> Found | None:
    """`Input: hello` / `Output: olleh` without quotes: only where the hints say that both are text, and nothing else."""
    takes_text = len(interface.parameters) == 1 and interface.bound([""]) is not None and interface.bound([0]) is None
    if not takes_text or not interface.gives("") or interface.gives(0):
        return None
    end = text.find("\n", label.end())
    output = OUTPUT_LINE.match(text, end + 1)
    if end < 0 or output is None:
        return None
    last = text.find("\n", output.end())
    last = last if last >= 0 else len(text)
    given, wanted = text[label.end() : end].strip(), text[output.end() : last].strip()
    if not given or not wanted or max(len(given), len(wanted)) > MAX_LINE or {given[0], wanted[0]} & set("\"'“`[({"):
        return None
    return Found(interface.name, (given,), wanted, label.start(), last, 2)
