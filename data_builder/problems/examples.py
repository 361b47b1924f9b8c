"""Tests printed in a statement: Input / Output blocks, doctests, and lines like `f(2) == 4`.

What is read may be incomplete; what is not clearly an example is left out, since a wrong test is worse than none.
"""

from __future__ import annotations

import ast
import doctest
import itertools
import re
from collections.abc import Iterator

from .asserts import literal
from .problem import CallTest, StdinTest
from .syntax import parse

# What stands between a call and its result: ==, =, =>, ->, -->, →, "# =>", "// returns", "should return", "=> returns", a bare #.
ARROW = re.compile(r"\s*(?:#|//)?\s*(?:(?:={1,3}>?|-+>|➞|→|⇒)\s*)?(?:(?:should )?(?:returns?|equals?|be)\b:?\s*)?")
CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
BULLET = re.compile(r"^[\s*+-]+")
# What makes a call a part of an expression if it stands before it; doctests, which begin with >>>, are read elsewhere.
ARITHMETIC = re.compile(r"([-+*/%!<]|\bnot|>>>)\s*$")
# Where a remark may begin after a result.
REMARK = re.compile(r"[.,;]|\s(?:#|//|\(|because\b|since\b|as\b)")
SECTION = re.compile(r"^-{3,}\s*(.+?)\s*-{3,}$")
HEADING = re.compile(r"^[\W_]*((?:sample|example)s?\s+)?(input|output)s?(?:\s*#?\d+)?[\W_]*$", re.IGNORECASE)
EXAMPLE_TITLE = re.compile(r"^[\W_]*(?:examples?|samples?|sample tests?)(?:\s*#?\d+)?[\W_]*$", re.IGNORECASE)
AFTERWORD = re.compile(
    r"^[\W_]*(?:explanations?|notes?|constraints|hints?)\b[\W_]*(?:\s#?\d+)?[\W_]*$|^explanation\s*:", re.IGNORECASE
)
NAME_LITERALS = {"true": True, "false": False, "null": None, "nil": None}


def call_examples(statement: str, entry_point: str | None = None) -> tuple[str | None, tuple[CallTest, ...]]:
    """(function, its examples): doctests and `f(literals) == literal` lines, in order, without repetitions.

    Without `entry_point` the function with most examples is taken, the first of equals; None if there is no example. Calls that
    are printed with two different results are left out.
    """
    statement = statement.replace("\xa0", " ")
    found: dict[str, dict[str, CallTest]] = {}
    conflicting = set()
    for name, test in [*_doctests(statement), *_arrow_lines(statement)]:
        known = found.setdefault(name, {})
        if repr(known.setdefault(repr(test.args), test).expected) != repr(test.expected):
            conflicting.add((name, repr(test.args)))
    for name, args in conflicting:
        del found[name][args]
    if entry_point is None:
        entry_point = max(found, key=lambda name: len(found[name]), default=None)
    tests = tuple(found.get(entry_point, {}).values()) if entry_point else ()
    return (entry_point if tests else None), tests


def stdin_examples(statement: str) -> tuple[StdinTest, ...]:
    """The Input / Output blocks of the examples.

    Taken are the blocks in a section called Example or Examples; else those titled "Sample Input" or "Example Output" in words;
    else plain "Input" and "Output" titles, except where the input block is a sentence: it describes the format.
    """
    lines = [line.rstrip() for line in statement.replace("\r\n", "\n").split("\n")]
    for blocks in (_blocks(_example_sections(lines)), _blocks(lines, titled=True), _blocks(lines)):
        tests = tuple(
            StdinTest("\n".join([*given, ""]), "\n".join([*without_remark(wanted), ""]))
            for given, wanted in blocks
            if wanted and not any(map(reads_like_prose, given))
        )
        if tests:
            return tests
    return ()


def reads_like_prose(line: str) -> bool:
    """Whether a line is a sentence: at least four words and a full stop or colon at its end."""
    return len(re.findall(r"[A-Za-z]{2,}", line)) >= 4 and line.endswith((".", ":"))


def without_remark(output: list[str]) -> list[str]:
    """AtCoder explains an example below its output, after a blank line: cut that off."""
    for index, line in enumerate(output):
        if not line and any(map(reads_like_prose, output[index:])):
            return output[:index]
    return output


def _doctests(statement: str) -> Iterator[tuple[str, CallTest]]:
    try:
        examples = doctest.DocTestParser().get_examples(statement)
    except ValueError:  # not well-formed, such as ">>>f(1)" or prompts of uneven indentation
        return
    for example in examples:
        test = _call_test(example.source.strip(), example.want.strip())
        if test:
            yield test


def _arrow_lines(statement: str) -> Iterator[tuple[str, CallTest]]:
    for line in statement.replace("`", "").split("\n"):
        line = BULLET.sub("", line)
        for call in CALL.finditer(line):
            if ARITHMETIC.search(line, 0, call.start()):
                continue
            end = next(_ends_at_depth_zero(line, call.end() - 1), None)
            arrow = ARROW.match(line, end) if end is not None else None
            if arrow and arrow[0].strip():
                tests = (_call_test(line[call.start() : end], wanted) for wanted in _without_remark(line[arrow.end() :]))
                yield from itertools.islice(filter(None, tests), 1)


def _without_remark(text: str) -> Iterator[str]:
    """The text, then ever shorter beginnings of it that end where a remark may begin."""
    yield text.strip().rstrip(".,;")
    cuts = [found.start() for found in REMARK.finditer(text)]
    depth_zero = {0, *_ends_at_depth_zero(text, 0)}
    for cut in reversed(cuts):
        if cut in depth_zero:
            yield text[:cut].strip().rstrip(",;")


def _call_test(call: str, wanted: str) -> tuple[str, CallTest] | None:
    """`f(literals)` and a literal as (f, test); None for anything else, also for 000, which is text that Python takes for 0."""
    if re.fullmatch(r"0\d+", wanted):
        return None
    try:
        node, result = (_expression(text) for text in (call, wanted))
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords):
            return None
        args = tuple(_spoken_literal(argument) for argument in node.args)
        return node.func.id, CallTest(args, _spoken_literal(result))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _expression(text: str) -> ast.expr:
    [statement] = parse(text.strip()).body
    if not isinstance(statement, ast.Expr):
        raise ValueError(f"{text} is not an expression")
    return statement.value


def _spoken_literal(node: ast.expr) -> object:
    """A literal; also `true`, `false`, `null` and `nil`, as statements translated from other languages write them."""

    class Translate(ast.NodeTransformer):
        def visit_Name(self, name: ast.Name) -> ast.expr:
            return ast.Constant(NAME_LITERALS[name.id]) if name.id in NAME_LITERALS else name

    return literal(Translate().visit(node))


def _ends_at_depth_zero(text: str, start: int) -> Iterator[int]:
    """The indices after each character from `start` on that leaves no bracket and no string open.

    If a bracket stands at `start`, the first of them is the end of it.
    """
    depth, quote, escaped = 0, "", False
    for position, character in enumerate(text[start:], start):
        if quote:
            if character == quote and not escaped:
                quote = ""
            escaped = character == "\\" and not escaped
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if depth == 0 and not quote:
            yield position + 1


def _example_sections(lines: list[str]) -> list[str]:
    """The lines of all `-----Example-----` sections."""
    inside, kept = False, []
    for line in lines:
        section = SECTION.match(line.strip())
        if section:
            inside = EXAMPLE_TITLE.match(section[1]) is not None
        elif inside:
            kept.append(line)
    return kept


def _blocks(lines: list[str], titled: bool = False) -> Iterator[tuple[list[str], list[str]]]:
    """(input lines, output lines) of every Input block followed by an Output block; `titled` asks for "Sample" or "Example"."""
    given: list[str] | None = None
    current: list[str] | None = None
    kind = ""
    for line in [*lines, "-----End-----"]:
        heading = HEADING.match(line) if not titled or re.search(r"sample|example", line, re.IGNORECASE) else None
        is_end = SECTION.match(line.strip()) or EXAMPLE_TITLE.match(line) or AFTERWORD.match(line)
        if not heading and not is_end:
            if current is not None and not line.strip().startswith("```"):
                current.append(line)
            continue
        if kind == "output" and given is not None and current is not None:
            yield _trimmed(given), _trimmed(current)
            given = None
        elif kind == "input":
            given = current
        kind, current = (heading[2].lower(), []) if heading else ("", None)


def _trimmed(lines: list[str]) -> list[str]:
    """Without the blank lines around."""
    first = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    last = next((index for index in range(len(lines), first, -1) if lines[index - 1].strip()), first)
    return lines[first:last]
