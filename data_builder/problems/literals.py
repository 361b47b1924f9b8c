"""Literals as statements print them: Python's, JSON's, and those of other languages.

Read are numbers, text in straight or typographic quotes, the names of true, false and nothing, lists, tuples, sets and
dictionaries, with the brackets and separators of other languages: `{1, 10}`, `[1; 2]`, `[1 2]`, `{a: 1}`, `{"a" => 1}`,
`new int[]{1, 2}`, `vec![1]`. Nothing is computed. `1,000`, `0.33...`, `007` and `1/3` are no literals.

Reading is linear in what is read: every character is looked at once.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterable
from typing import Any

MARKDOWN_ESCAPE = re.compile(r"(?<!\\)\\([*_<>#~|])")  # of what means nothing in Python
MAX_DEPTH = 40
MAX_CHARACTERS = 20_000  # of one literal
SPACES = re.compile(r"[ \t]*+")
WHITE_SPACE = re.compile(r"\s*+")
# A quote that is never closed ends with its line. Typographic quotes hold no escapes.
STRAIGHT = re.compile(r"""[bru]?(?:"(?:[^"\\\n]|\\.)*+"|'(?:[^'\\\n]|\\.)*+')""")
UNCLOSED = re.compile(
    r"""["'](?:[^"'\\\n]*+\\.)*+"""
)  # up to the last character that is escaped: no quote before it closes or opens
TYPOGRAPHIC = re.compile(r"[“”„]([^“”„\"\n]*+)[“”\"]|[‘’‚]([^‘’'\n]*+)[’‘']|«([^«»\n]*+)»")
NUMBER = re.compile(
    r"([-+−]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|(?:\d[\d_]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?)(?:[uU]?[lL]{1,2}\b|f\b)?"
)
PAIR = re.compile(r"\s*(?:=>|:(?!:)|=(?!=))\s*")
SEPARATOR = re.compile(r"\s*([,;])\s*")
# What stands before a bracket where a language names the container: its items count alone.
SEQUENCE = re.compile(
    r"(?:new\s+\w+(?:<[\w<>, ]{0,40}>)?(?:\s*\[\d*\])*|(?:std::)?vector<[\w<>:, ]{0,40}>|\[\]\w+|vec!|Arrays\.asList"
    r"|(?:Immutable)?(?:List|Array)(?:\.of)?|list|@)\s*(?=[\[({])"
)
SET = re.compile(r"(?:frozen)?set\s*(?=\()|Set\.of\s*(?=\()|new\s+Set\s*(?=\()")
CLOSING = {"[": "]", "(": ")", "{": "}"}
# What goes on with a number or a text before it: `2nd`, `0.33...`, `'it's`. Between brackets `1,000` are two numbers.
GOES_ON = re.compile(r"\w|\.[\w.]|…")
THOUSANDS = re.compile(r",\d{3}(?!\d)")
NAMED = {
    **dict.fromkeys(["True", "true", "TRUE"], True),
    **dict.fromkeys(["False", "false", "FALSE"], False),
    **dict.fromkeys(["None", "null", "NULL", "nil", "nullptr", "undefined", "Nothing"], None),
}
NAME = re.compile(rf"(?:{'|'.join(NAMED)})(?![\w(]|\.\w)")
KEY = re.compile(rf":?(?!(?:{'|'.join(NAMED)})\b)([A-Za-z_]\w*)\s*(?==>|[:=](?!=))")


def read_literal(text: str, start: int, braces: str = "set") -> tuple[Any, int] | None:
    """(value, index after it) of the literal at `start`, None where there is none. Spaces before it are skipped.

    `braces` is what `{1, 2}` is: a "set", as in Python, or a "list", as in most other languages. Braces around what no set
    can hold, or holds once only, are a list either way.
    """
    reader = Reader(text, start, braces)
    try:
        return reader.value(), reader.at
    except ValueError:
        return None


class Reader:
    """Reads literals one after the other; `at` is where it stands, after a ValueError the place that it could not read."""

    def __init__(self, text: str, start: int, braces: str = "set") -> None:
        self.text, self.at, self.braces = text, start, braces
        self._last = start + MAX_CHARACTERS

    def value(self, depth: int = 0) -> Any:
        """The literal that begins here, spaces (in brackets also lines) skipped. Raises ValueError where there is none."""
        self.skip(WHITE_SPACE if depth else SPACES)
        if depth > MAX_DEPTH or self.at > self._last:
            raise ValueError("too deep, or too long")
        if self.skip(SEQUENCE):
            return self._named_sequence(depth)
        if self.skip(SET):
            items = self._container(depth)
            return _hashed(items if isinstance(items, list | tuple | set) else [items])
        return self._container(depth) if self.text[self.at : self.at + 1] in CLOSING else self._scalar(depth)

    def _named_sequence(self, depth: int) -> list[Any]:
        """`new int[]{1, 2}`: what stands in the brackets is a list, and so are braces in them."""
        outside, self.braces = self.braces, "list"
        try:
            items = self._container(depth, named=True)
        finally:
            self.braces = outside
        return items if isinstance(items, list) else [items]

    def skip(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Go past `pattern` if it stands here."""
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def _scalar(self, depth: int) -> Any:
        if name := self.skip(NAME):
            return NAMED[name[0]]
        found = self.skip(STRAIGHT) or self.skip(TYPOGRAPHIC) or self.skip(NUMBER)
        if not found:
            if unclosed := UNCLOSED.match(self.text, self.at):
                self.at = unclosed.end()
            raise ValueError("no literal")
        if GOES_ON.match(self.text, self.at) or (not depth and THOUSANDS.match(self.text, self.at)):
            raise ValueError("not the whole of it")
        if found.re is STRAIGHT:
            return _unquoted(found[0])
        if found.re is TYPOGRAPHIC:
            return found[1] or found[2] or found[3] or ""
        return _number(found[1], found[2])

    def _container(self, depth: int, named: bool = False) -> Any:
        opening = self.text[self.at]
        self.at += 1
        items: list[Any] = []
        pairs: list[tuple[Any, Any]] = []
        separators = set()
        self.skip(WHITE_SPACE)
        while not self.text.startswith(CLOSING[opening], self.at):
            key = self.skip(KEY) if opening != "(" else None
            item = key[1] if key else self.value(depth + 1)
            if opening != "(" and self.skip(PAIR):
                pairs.append((item, self.value(depth + 1)))
            else:
                items.append(item)
            end = self.at
            separator = self.skip(SEPARATOR) or self.skip(WHITE_SPACE)
            mark = separator[0].strip() if separator else ""
            closed = self.text.startswith(CLOSING[opening], self.at)
            if mark or not closed:
                separators.add(mark)
            if not closed and self.at == end:
                raise ValueError("no separator")
            if len(separators) > 1 or (pairs and items) or ("" in separators and not _is_scalar(item)):
                raise ValueError("not one kind of container")
        self.at += 1
        return items if named and not pairs else self._made(opening, items, pairs, bool(separators))

    def _made(self, opening: str, items: list[Any], pairs: list[tuple[Any, Any]], separated: bool) -> Any:
        if pairs:
            _hashed([key for key, _ in pairs])
            return dict(pairs)
        if opening == "[":
            return items
        if opening == "(":
            return items[0] if len(items) == 1 and not separated else tuple(items)
        if self.braces == "list":
            if not items:
                raise ValueError("{} may be an empty list or an empty dictionary")
            return items
        if not items:
            return {}
        try:
            return _hashed(items) if len(set(map(repr, items))) == len(items) else items
        except ValueError:
            return items


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, list | tuple | set | dict)


def _hashed(items: Iterable[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError as error:
        raise ValueError("an item that no set can hold") from error


def _unquoted(source: str) -> str | bytes:
    source = MARKDOWN_ESCAPE.sub(r"\1", source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" is text in Python, with a warning
        try:
            value = ast.literal_eval(source)
        except SyntaxError as error:
            raise ValueError("an escape that Python does not know") from error
    assert isinstance(value, str | bytes)
    return value


def _number(sign: str, digits: str) -> int | float:
    """Raises ValueError for `007`, more digits than Python reads, and floats that are too large."""
    factor = 1 if sign in ("", "+") else -1
    if digits[:2].lower() in ("0x", "0b"):
        return factor * int(digits, 0)
    if re.fullmatch(r"[\d_]+", digits):
        if re.match(r"0\d", digits):
            raise ValueError("text of digits")
        return factor * int(digits)
    value = float(digits.replace("_", ""))
    if math.isinf(value):
        raise ValueError("too large")
    return factor * value
