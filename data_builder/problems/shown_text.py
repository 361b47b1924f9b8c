"""A statement's text without its markup, line by line: Markdown's fences, backticks and emphasis, HTML's tags, LaTeX's commands.

What stands in quotes is kept as it is: there, markup may be part of a value.
"""

from __future__ import annotations

import bisect
import html
import itertools
import re

FENCE = re.compile(r"\s*(?:`{3,}|~{3,})\s*[\w:.+#-]*\s*$")
QUOTED = r"""(?<!\\)"(?:[^"\\\n]|\\.)*+"|(?<![\w)\]\\])'(?:[^'\\\n]|\\.)*+'(?!\w)|“[^“”\n]*+”"""
TAG_NAMES = (
    "code|pre|b|strong|i|em|tt|kbd|samp|br|p|li|ul|ol|span|div|u|font|h\\d|t[rhd]|table|t(?:head|body)|sup|sub|var|a|center"
)
TAG = rf"</?(?:{TAG_NAMES})(?:\s[^<>\n]{{0,300}})?/?>"
EMPHASIS = r"(?<![\w)\]*])\*\*(?=\S)|(?<=\S)\*\*(?![\w(\[*])"
LATEX = (
    r"\\(?:text\w*|math\w*|verb)\{[^{}\n]*\}|\\(?:[Ll]ong)?[Rr]ightarrow\b|\\(?:to|mapsto|implies|times|cdot|l?dots)\b"
    r"|\\[_{}%$&#]"
)
MATHS = r"\$(?=\S)[^$\n]+\$(?!\w)"
ENTITY = r"&(?:lt|gt|amp|nbsp|#39|#x27|rarr);"
MARKUP = re.compile(rf"(?P<quoted>{QUOTED})|{TAG}|`+|{EMPHASIS}|{LATEX}|{MATHS}|{ENTITY}")
# A doctest's second line and those after it.
CONTINUED = re.compile(r"^([ \t]*)\.\.\.[ ](?=.*[)\]}])", re.MULTILINE)
SPACES = str.maketrans(
    dict.fromkeys("\xa0\u2002\u2003\u2009\u200a\u202f\u3000", " ") | dict.fromkeys("\u200b\u200c\u200d\ufeff\r")
)


class ShownText:
    """`text` has as many lines as the statement; `lines` says in which of them, counted from 1, a piece of it stands."""

    def __init__(self, statement: str) -> None:
        shown = [without_markup(line) for line in CONTINUED.sub(r"\1    ", statement).split("\n")]
        self.text = "\n".join(shown)
        self._starts = [0, *itertools.accumulate(len(line) + 1 for line in shown)]

    def lines(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last line of `text[start:end]`."""
        return bisect.bisect_right(self._starts, start), bisect.bisect_right(self._starts, max(start, end - 1))


def without_markup(line: str) -> str:
    """One line without markup; a line that only opens or closes a fence is empty."""
    line = line.translate(SPACES)
    if FENCE.match(line):
        return ""
    if "&quot;" in line and '"' not in line and "'" not in line:
        line = html.unescape(line)
    for quotes in ('"""', "'''"):  # of a docstring
        line = line.replace(quotes, "   ")
    return MARKUP.sub(_plain, line)


def _plain(found: re.Match[str]) -> str:
    markup = found[0]
    if found["quoted"]:
        return markup
    if markup[0] == "<":
        return _without_tag(markup)
    if markup[0] == "$":
        return MARKUP.sub(_plain, markup[1:-1])
    if markup[0] == "&":
        return html.unescape(markup)
    if markup[0] == "\\":
        return _without_latex(markup)
    return ""


def _without_tag(tag: str) -> str:
    """A power stays one, cells are told apart, lines are."""
    name = tag.strip("</>").split()[0].lower()
    if name in ("sup", "sub"):
        return "" if tag.startswith("</") else "^" if name == "sup" else "_"
    if name in ("td", "th"):
        return " | " if tag.startswith("</") else ""
    return " " if name in ("br", "p", "li", "tr", "div") else ""


def _without_latex(command: str) -> str:
    if command.endswith("}") and "{" in command:
        return MARKUP.sub(_plain, command[command.index("{") + 1 : -1])
    if len(command) == 2:
        return command[1]
    if command in ("\\times", "\\cdot"):
        return "*"
    return "…" if command.endswith("dots") else "->"
