"""The program in a model's answer."""

from __future__ import annotations

import re

from .syntax import parse

# Fences as in CommonMark: up to three spaces, three or more backticks or tildes; one that closes carries no tag.
FENCE = re.compile(r"^( {0,3})(`{3,}|~{3,})[ \t]*([^`\n]*?)[ \t]*$")
PYTHON_TAGS = {"", "py", "py3", "python", "python3"}
# Prose may begin with these words too: hence the longest of several tries.
MAX_STARTS = 50
CODE_START = re.compile(r"(?:import|from|def|async def|class|if|for|while|try|with|print|@)\b|@|[A-Za-z_]\w*(?:, *\w+)* *=[^=]")


def extract_program(answer: str) -> str:
    """The program in `answer`, "" if there is none; never raises.

    The last fenced block tagged as Python or not at all, else the last of any tag; a block that is never closed reaches to the
    end. Without fences: the answer itself if it is Python, else the longest run of its lines that is.
    """
    answer = answer.replace("\r\n", "\n")
    blocks = [(tag, code) for tag, code in fenced_blocks(answer) if code.strip()]
    python = [code for tag, code in blocks if tag in PYTHON_TAGS]
    if blocks:
        return python[-1] if python else blocks[-1][1]
    return unfenced_program(answer)


def fenced_blocks(answer: str) -> list[tuple[str, str]]:
    """(tag, content) of every fenced block in order, the last one possibly unclosed.

    Inside a block a fence with a tag begins the next block (the model forgot to close), which CommonMark would take as content.
    """
    blocks: list[tuple[str, list[str]]] = []
    opening: re.Match[str] | None = None
    for line in answer.split("\n"):
        fence = FENCE.match(line)
        if fence and opening and not fence[3] and fence[2].startswith(opening[2]):
            opening = None
        elif fence and (not opening or (fence[3] and fence[2] == opening[2])):
            opening = fence
            blocks.append(((fence[3].split() or [""])[0].lower(), []))
        elif opening:
            indent = len(opening[1])
            blocks[-1][1].append(line[min(indent, len(line) - len(line.lstrip(" "))) :])
    return [(tag, "\n".join(lines)) for tag, lines in blocks]


def unfenced_program(answer: str) -> str:
    """All of `answer` if it is Python; else the longest run of lines that is, beginning where code may begin.

    If none is (a program cut off), everything from the first such line.
    """
    lines = answer.split("\n")
    if _parsing_lines(lines) == lines:
        return answer
    starts = [number for number, line in enumerate(lines) if CODE_START.match(line)]
    if not starts:
        return ""
    longest = max((_parsing_lines(lines[start:]) for start in starts[:MAX_STARTS]), key=len)
    return "\n".join(longest or lines[starts[0] :])


def _parsing_lines(lines: list[str]) -> list[str]:
    """The first of `lines`, cut before the syntax error until there is none."""
    end = len(lines)
    while end:
        try:
            parse("\n".join(lines[:end]))
            return lines[:end]
        except SyntaxError as error:
            end = min(end, error.lineno or end) - 1
        except (ValueError, RecursionError, MemoryError):
            return []
    return []
