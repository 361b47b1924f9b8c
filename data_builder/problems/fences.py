"""The fenced blocks of a model's answer, as models write them: indented in lists and quotes, nested, unclosed, on one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Before a fence: the indentation of lists, the marks of quotes. After it: a tag, which no backtick is part of.
FENCE = re.compile(r"([ \t>]*)(`{3,}|~{3,})[ \t]*([^`\n]*?)[ \t]*")
ONE_LINE = re.compile(r"[ \t>]*(`{3,})[ \t]*([\w.+#-]*)[ \t]+(\S[^`\n]*?)[ \t]*\1[ \t]*")
CLOSED_IN_LINE = re.compile(r"(.*\S)[ \t]*(`{3,})[ \t]*")
LANGUAGE = re.compile(r"[\W_]*([A-Za-z]+)")
DOCSTRING = re.compile(r"\"\"\"|'''")
PYTHON = {"", "python", "py", "ipython"}
WRAPPERS = {"markdown", "md"}
MAX_NESTED = 3


@dataclass
class Block:
    """`language`: the tag's first word in lower case, without a version, "" without a tag."""

    language: str
    lines: list[str] = field(default_factory=list)

    @property
    def code(self) -> str:
        return "\n".join(self.lines)


def fenced_blocks(answer: str, in_strings: bool, nested: int = 0) -> list[Block]:
    """All blocks with anything in them, in order, the last one possibly unclosed.

    Inside a block a fence with a tag begins the next block (the model forgot to close), which CommonMark would take as content.
    With `in_strings` a fence inside a text in triple quotes is content. Blocks of Markdown are replaced by those that they hold.
    """
    found: list[Block] = []
    for block in _blocks(answer, in_strings):
        if block.language in WRAPPERS and nested < MAX_NESTED:
            found += fenced_blocks(block.code, in_strings, nested + 1)
        elif block.code.strip():
            found.append(block)
    return found


def _blocks(answer: str, in_strings: bool) -> Iterator[Block]:
    block: Block | None = None
    indent = fence = quotes = ""
    for line in answer.split("\n"):
        found = FENCE.fullmatch(line)
        if block is None:
            if one := ONE_LINE.fullmatch(line):
                tagged = _language(one[2]) in PYTHON
                yield Block(_language(one[2]) if tagged else "", [one[3] if tagged else f"{one[2]} {one[3]}".strip()])
            elif found:
                block, (indent, fence, quotes) = Block(_language(found[3])), (found[1], found[2], "")
            continue
        if found and not (in_strings and quotes):
            if not found[3] and found[2].startswith(fence):
                yield block
                block = None
                continue
            if found[3] and found[2] == fence:
                yield block
                block, (indent, quotes) = Block(_language(found[3])), (found[1], "")
                continue
        last = CLOSED_IN_LINE.fullmatch(line) if "`" in line else None
        text = _without_indent(last[1] if last and last[2] == fence else line, indent)
        block.lines.append(text)
        if last and last[2] == fence and not quotes:
            yield block
            block = None
            continue
        for mark in DOCSTRING.findall(text) if in_strings else ():
            quotes = "" if quotes == mark else quotes or mark
    if block is not None:
        yield block


def _language(tag: str) -> str:
    found = LANGUAGE.match(tag)
    return found[1].lower() if found else ""


def _without_indent(line: str, indent: str) -> str:
    """The line without the fence's indentation: the same characters, or as much white space as there is of it."""
    if line.startswith(indent):
        return line[len(indent) :]
    white = len(line) - len(line.lstrip(" \t>" if ">" in indent else " \t"))
    return line[min(len(indent), white) :]
