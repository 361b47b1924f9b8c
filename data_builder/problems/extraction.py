"""The program in a model's answer.

Of the blocks that are Python the last one that defines something or reads the input is taken, with the blocks that define what it
uses: not the usage, the tests and the repeated lines that models show after it. Without blocks, the longest run of lines that is
Python. Extracting is linear in the answer's length: what is parsed, again and again in the worst case, is bounded.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from .fences import PYTHON, fenced_blocks
from .syntax import parse

MAX_ANSWER = 200_000
"""Characters of the longest answer that is looked at."""
MAX_PARSED = 300_000  # characters of lines without a fence that are parsed
# Prose may begin with these words too: hence the longest of several tries.
CODE_START = re.compile(
    r"(?:import|from|def|async def|class|if|for|while|try|with|print|@)\b|@|#!|[A-Za-z_(\[][\w\s,.:()\[\]*]{0,80}=[^=]"
)
_THINKING = re.compile(r"^[ \t]*<think>", re.MULTILINE)
SPACES = str.maketrans(dict.fromkeys("\xa0\u2002\u2003\u2009\u202f\u3000", " ") | dict.fromkeys("\u200b\ufeff"))
TEST_MODULES = {"unittest", "pytest", "doctest"}


@dataclass(frozen=True)
class Code:
    """Python that parses, and what it says of itself: names that it defines, names that it uses and does not define."""

    text: str
    tree: ast.Module
    defines: frozenset[str]
    uses: frozenset[str]
    reads: bool
    """Whether it reads standard input."""
    is_test: bool

    @property
    def stands_alone(self) -> bool:
        """Whether it may be the program: it defines a function or class, or reads the input, and is no test of another block."""
        return not self.is_test and (self.reads or bool(self.definitions))

    @cached_property
    def definitions(self) -> frozenset[str]:
        """The text of the functions and classes that it defines at the top level."""
        lines = self.text.split("\n")
        spans = [(node.lineno - 1, node.end_lineno) for node in self.tree.body if isinstance(node, DEFINITIONS)]
        return frozenset("\n".join(map(str.rstrip, lines[first:last])) for first, last in spans)


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def extract_program(answer: str) -> str:
    """The program in `answer`, "" if there is none; never raises. Where no block parses it is the last one as it stands."""
    if len(answer) > MAX_ANSWER:
        return ""
    answer = _after_thinking(answer.replace("\r\n", "\n"))
    blocks = fenced_blocks(answer, in_strings=True)
    if not blocks:
        return unfenced_program(answer)
    python = [block.code for block in blocks if block.language in PYTHON]
    found = [code for code in map(read_code, python) if code]
    if len(found) < len(python):  # a fence may be closed although a text in triple quotes is not
        closed = fenced_blocks(answer, in_strings=False)
        python_closed = [block.code for block in closed if block.language in PYTHON]
        found_closed = [code for code in map(read_code, python_closed) if code]
        if len(found_closed) > len(found) or not found:
            blocks, python, found = closed, python_closed, found_closed
    if found:
        return joined(found)
    return python[-1] if python else blocks[-1].code


def joined(codes: Sequence[Code]) -> str:
    """The last of `codes` that may be the program, after those that define what it uses; without any such, the last of all."""
    programs = [code for code in codes if code.stands_alone]
    if not programs:
        return codes[-1].text
    main = programs[-1]
    for code in reversed(programs[:-1]):
        if _repeats(main, code) or (code.uses & main.defines and not main.uses & code.defines):
            main = code
    needed = [main]
    missing = set(main.uses)
    for code in reversed([code for code in codes if code is not main and not code.is_test]):
        if missing & code.defines and not code.defines & main.defines:
            needed.insert(0, code)
            missing = (missing - code.defines) | code.uses
    return "\n\n".join(code.text for code in needed)


def read_code(text: str) -> Code | None:
    """`text` as Python: as it stands, else without common indentation and with plain spaces; None if it is none."""
    plain = text.translate(SPACES)
    for candidate in dict.fromkeys([text, textwrap.dedent(text), plain, textwrap.dedent(plain).strip("\n")]):
        try:
            return _told(candidate, parse(candidate))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
    return None


def unfenced_program(answer: str) -> str:
    """All of `answer` if it is Python; else the longest run of lines that is, beginning where code may begin.

    If none is (a program cut off), everything from the first such line.
    """
    whole = read_code(answer)
    if whole:
        return whole.text if answer.strip() else ""
    lines = answer.translate(SPACES).split("\n")
    longest: list[str] = []
    first, at, budget = len(lines), 0, MAX_PARSED
    while at < len(lines) and budget > 0:
        if not CODE_START.match(lines[at]):
            at += 1
            continue
        first = min(first, at)
        run, parsed = _parsing_lines(lines[at:], budget)
        budget -= parsed
        longest = max(longest, run, key=len)
        at += max(1, len(run))
    return "\n".join(longest or lines[first:])


def _parsing_lines(lines: list[str], budget: int) -> tuple[list[str], int]:
    """(the first of `lines`, cut before the syntax error until there is none, characters parsed for it)."""
    end, parsed = len(lines), 0
    while end and parsed < budget:
        text = "\n".join(lines[:end])
        parsed += len(text) + 100
        try:
            parse(text)
            return lines[:end], parsed
        except SyntaxError as error:
            end = min(end, error.lineno or end) - 1
        except (ValueError, RecursionError, MemoryError):
            break
    return [], parsed


def _after_thinking(answer: str) -> str:
    """What follows the last </think>, and stands before thinking that is not closed: a draft is not the answer."""
    after = answer.rpartition("</think>")[2]
    begun = _THINKING.search(after)
    return after[: begun.start()] if begun else after


def _told(text: str, tree: ast.Module) -> Code:
    nodes = list(ast.walk(tree))
    defined: set[str] = set()
    used: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
        elif isinstance(node, DEFINITIONS):
            defined.add(node.name)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
    outside = set(_names_outside(tree.body))
    reads = any(_reads_input(node) for node in nodes)
    return Code(text, tree, frozenset(outside), frozenset(used - defined - set(dir(builtins))), reads, _is_test(tree))


def _names_outside(body: Iterable[ast.stmt]) -> Iterable[str]:
    """What the statements at the top level define, also by import and assignment."""
    for statement in body:
        if isinstance(statement, DEFINITIONS):
            yield statement.name
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                yield (node.asname or node.name).partition(".")[0]
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _reads_input(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "stdin"
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    opened = node.args[0] if node.func.id == "open" and node.args else None
    return node.func.id == "input" or (isinstance(opened, ast.Constant) and opened.value in (0, "/dev/stdin"))


def _is_test(tree: ast.Module) -> bool:
    """Whether it tests another block: it imports a test framework, or all that it defines are tests."""
    names = [node.name for node in tree.body if isinstance(node, DEFINITIONS)]
    modules = {
        alias.name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in (node.names if isinstance(node, ast.Import) else [ast.alias(node.module or "")])
    }
    return bool(modules & TEST_MODULES) or bool(names and all(name.lower().startswith("test") for name in names))


def _repeats(part: Code, whole: Code) -> bool:
    """Whether all that `part` defines stands in `whole` as it is: lines that are explained again."""
    return not part.reads and bool(part.definitions) and part.definitions < whole.definitions
