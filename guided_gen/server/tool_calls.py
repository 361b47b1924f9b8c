"""The calls of tools in an answer's text, read as the text arrives.

Models write calls as JSON in <tool_call> tags, as their chat templates ask them to, or in a ```json fence, or bare on a line of
its own: an object with the name of a tool that was offered and its arguments. All else is the answer's content.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

_OPENING = re.compile(
    r"(?:<tool_call>|<tools>|<function_call>|<\|python_tag\|>)\s*(?:```(?:json)?\s*)?(?=[\[{])"
    r"|^[ \t]*```(?:json|tool_call)?[ \t]*\n\s*(?=[\[{])|^[ \t]*(?=[\[{])",
    re.MULTILINE,
)
# How what may still become one ends; white space before a call is no content.
_BEGINNING = re.compile(
    r"\s*(?:<[a-z_|]{0,14}(?:>\s*(?:`{1,3}(?:json)?\s*)?)?|^[ \t]*`{1,3}[a-z_]{0,9}[ \t]*(?:\n\s*)?|\s)\Z", re.MULTILINE
)
_CLOSING = re.compile(r"\s*(?:```\s*)?(?:</(?:tool_call|tools|function_call)>|```)")
_CLOSING_BEGINS = re.compile(r"\s*(?:`{0,3}\s*)(?:<?/?[a-z_]{0,13})\Z")
_MOST_OPENINGS = 64  # that are read as JSON: an answer is read in linear time
_DECODER = json.JSONDecoder(strict=False)  # models leave line breaks in strings
_NEAR_THE_END = 8  # characters: a JSON text that is wrong there may be a whole one that is cut


@dataclass(frozen=True)
class ToolCall:
    """`arguments` is a JSON object as text."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}", compare=False)


def read_calls(text: str, names: Collection[str]) -> tuple[str, list[ToolCall]]:
    """The content of a whole answer, and its calls of tools with these names."""
    parts = CallReader(names).add(text, final=True)
    return "".join(p for p in parts if isinstance(p, str)), [p for p in parts if isinstance(p, ToolCall)]


class CallReader:
    """Reads one answer, whose text comes in pieces. What is content and what are calls does not depend on the pieces."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._text = ""
        self._told = 0  # up to where the text is told, as content or calls
        self._search_from = 0
        self._openings = 0
        self._called = self._content_after_call = False

    def add(self, text: str, final: bool = False) -> list[str | ToolCall]:
        """What is certain now, in its order. `final`: nothing follows."""
        self._text += text
        parts: list[str | ToolCall] = []
        while self._openings < _MOST_OPENINGS and (opening := _OPENING.search(self._text, self._search_from)):
            end, calls = self._block(opening.end(), final, bare=not opening[0].strip())
            if end is None:
                self._tell(self._word_before(opening.start()), parts)
                return parts
            self._openings += 1
            self._search_from = end
            if calls:
                self._tell(self._word_before(opening.start()), parts)
                parts += calls
                self._told, self._called, self._content_after_call = end, True, False
        held = None if final else _BEGINNING.search(self._text, self._told)
        end = len(self._text) if held is None else held.start()
        if final and self._called:
            end = len(self._text.rstrip())
        self._tell(end, parts)
        return parts

    def _tell(self, end: int, parts: list[str | ToolCall]) -> None:
        content = self._text[self._told : end]
        if self._called:
            stripped = content.lstrip()
            content = stripped if not self._content_after_call else content
        if content:
            self._content_after_call = True
            parts.append(content)
        self._told = max(self._told, end)

    def _word_before(self, end: int) -> int:
        """Where the last word before `end` ends that is not told yet."""
        while end > self._told and self._text[end - 1].isspace():
            end -= 1
        return end

    def _word_behind(self, start: int) -> int:
        while self._text[start : start + 1].isspace():
            start += 1
        return start

    def _block(self, at: int, final: bool, bare: bool) -> tuple[int | None, list[ToolCall]]:
        """The calls from `at` on, and where they end; None where they may not be whole."""
        calls: list[ToolCall] = []
        end = at
        while True:
            start = self._word_behind(end)
            if calls and self._text[start : start + 1] not in ("{", "["):
                break
            try:
                found, stop = _DECODER.raw_decode(self._text, start)
            except (ValueError, RecursionError) as error:
                if not final and _may_go_on(error, len(self._text.rstrip())):
                    return None, []
                break
            known = [self._call(one) for one in (found if isinstance(found, list) else [found])]
            if not known or None in known:
                return (stop, []) if not calls else (end, calls)
            calls += [call for call in known if call is not None]
            end = stop
        if not calls:
            return at + 1, []
        if not bare:
            if closing := _CLOSING.match(self._text, end):
                return closing.end(), calls
            if not final and _CLOSING_BEGINS.match(self._text, end):
                return None, []
        return end, calls

    def _call(self, found: Any) -> ToolCall | None:
        """A JSON value as a call, where it is one of a known tool."""
        if isinstance(found, dict) and isinstance(found.get("function"), dict):
            found = found["function"]
        if not isinstance(found, dict) or not isinstance(found.get("name"), str) or found["name"] not in self._names:
            return None
        arguments = found.get("arguments", found.get("parameters", {}))
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                return None
        return ToolCall(found["name"], json.dumps(arguments, ensure_ascii=False)) if isinstance(arguments, dict) else None


def _may_go_on(error: Exception, length: int) -> bool:
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith(("Unterminated", "Invalid \\")) or error.pos >= length - _NEAR_THE_END
