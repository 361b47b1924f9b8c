"""Examples written as calls: `f(2) == 4`, `f(2) // returns 4`, `assertEqual(f(2), 4)`, `>>> f(2)` and the result below it.

Such an example is a call of literals, what leads to its result, the result, and an end. Where one of these is anything else
(`f(n) = 4`, `2 * f(3) = 6`, `f(3) = 2 + 2`), nothing is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .interface import Interface, same_name
from .literals import NAMED, Reader, read_literal
from .result_text import DENIED, END, END_OF_ASSERT, FOLLOWED, LINES, Found, lead, read_result, result_below

Variables = Mapping[str, Sequence[tuple[int, Any]]]

CALL = re.compile(r"(?<![\w'\"])([A-Za-z_]\w*)[?!]?[ \t]?(?=\()")
SPACED_CALL = re.compile(r"(?<![\w'\".-])([A-Za-z_][\w-]*)(?=[ \t]+[\"'\[\d-])")
ASSIGNED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)[ \t]*=(?!=)")
VARIABLE = re.compile(r"\s*([A-Za-z_]\w*)\s*(?=[,)])")
KEYWORD = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:=(?!=)|:)")
COMMA = re.compile(r"\s*,")
CLOSED = re.compile(r"\s*\)")
BULLET = re.compile(r"^[ \t]*(?:(?:[-*+•·>]|//+)[ \t]+|\(?\w{1,2}[.)][ \t]+)*")
MAX_BEFORE = 100  # characters of the line before a call that are looked at
# No function that a statement asks for, though it may show calls of it.
NOT_ASKED_FOR = {"print", "len", "range", "str", "int", "type", "assert", "list", "set", "sorted"}

# Where braces are a set: in Python's notation, and in a statement about sets.
PYTHON = re.compile(r">>>|==|\bassert\b")
SETS = re.compile(r"\bsets?\b", re.IGNORECASE)

# What a call stands in, by the name before an open bracket.
WRAPPER = re.compile(r"(?:\b([\w.]+)!?)?[ \t]*\([ \t]*$")
SWAPPED = re.compile(r"\b([\w.]+)!?\((?=.*,\s*$)")
PRINTS = {"print", "println", "puts", "log", "writeline", "echo", "alert", "write"}
CONDITION = {"assert", "expect", "that", "ok", "asserttrue", "istrue"}
EQUAL = re.compile(r"(?:assert|are|is|it|deep|strict|list|tuple|dict|array|string|sequence|set){0,4}(?:equals?|eq|similar|same)")
CONSTANTS = {"asserttrue": True, "istrue": True, "assertfalse": False, "isfalse": False, "assertisnone": None}
MATCHER = re.compile(r"\s*\)\s*\.to(?:Be|Equal|StrictEqual|Eq|(?:\.\w+){1,3})\s*\(|\s*,\s*(?:Is\.EqualTo|is|equalTo)\s*\(")
# What makes a call a part of an expression: operators, an index, a receiver that is a value.
IN_EXPRESSION = re.compile(r"(?:(?<![-=])[-+*/%!<^&~]|\b(?:not|in|def|function|fn|func|fun)|\[)[ \t]*$|[\])\"']\.$")
# An object with a state, by what it is assigned, and a call of its method: what that gives, the calls before decide.
OBJECT = re.compile(r"([A-Za-z_]\w*)[ \t]*=[ \t]*(?:new[ \t]+)?(?!Solution\b)[A-Z]\w*\(")
METHOD_OF = re.compile(r"([A-Za-z_]\w*)\.$")
RECEIVER = re.compile(r"\b(?:[A-Za-z_]\w*(?:\(\))?(?:\.|::)){1,4}$")
ASSERT = re.compile(r"\bassert\b")
PROMPT = re.compile(r"(?:>>>|\bIn[ ]?\[\d*\]:)[ \t]*$")
BELOW_PROMPT = re.compile(r"\n[ \t]*(?!>>>)(?:Out[ ]?\[\d*\]:[ \t]*)?")
BESIDE_CALL = re.compile(r"[ \t]+(?=[\[({\"'\dTFN])(?!\[-?\d+\][ \t]*\n[ \t]*[^\s>])")  # no operator, no index
BESIDE_PROMPT = re.compile(r"[ \t]*(?:>>>|$)", re.MULTILINE)
BELOW_CALL = re.compile(r"\n[ \t]*(?=[\[({\"'\dTFN-])")
CELL = re.compile(r"[ \t]*\|")

# `f(3) = 1 + 2 = 3`: the computation before a result.
ARITHMETIC = re.compile(r"[ \t]*\(?-?\d[\d.]*\)?(?:[ \t]*[-+*/^%x×·][ \t]*\(?-?\d[\d.]*\)?){1,60}[ \t]*={1,2}(?![=>])")


def call_forms(text: str, name: str | None, interface: Interface | None) -> Iterator[Found]:
    """All examples in `text` that call `name` (in the spelling of any language), or any function where it is None."""
    variables = assigned_values(text)
    has_braces, says_set = "{" in text, SETS.search(text) is not None
    objects = {found[1] for found in OBJECT.finditer(text)}
    for call in CALL.finditer(text):
        of = METHOD_OF.search(text, max(0, call.start() - MAX_BEFORE), call.start()) if objects else None
        if of and of[1] in objects:
            continue
        if same_name(call[1], name) if name else call[1] not in NOT_ASKED_FOR:
            python = call[1] == (name or call[1]) and (says_set or PYTHON.search(text, *_line(text, call)) is not None)
            for braces in (("set", "list") if python else ("list", "set"))[: 1 + has_braces]:
                if found := _example(text, call, name or call[1], interface, braces, variables):
                    yield found
                    break
    if name and interface and interface.parameters:
        for call in SPACED_CALL.finditer(text):
            if same_name(call[1], name) and (found := _spaced_example(text, call, interface)):
                yield found


def _line(text: str, call: re.Match[str]) -> tuple[int, int]:
    """The line of a call, as far as it is looked at."""
    end = text.find("\n", call.end(), call.end() + 2 * MAX_BEFORE)
    return max(0, text.rfind("\n", 0, call.start()), call.start() - MAX_BEFORE), end if end >= 0 else call.end() + 2 * MAX_BEFORE


def assigned_values(text: str) -> dict[str, list[tuple[int, Any]]]:
    """(index after it, value) of every `name = literal`, by name."""
    found: dict[str, list[tuple[int, Any]]] = {}
    at = 0
    while name := ASSIGNED.search(text, at):
        reader = Reader(text, name.end())
        try:
            value = reader.value()
            found.setdefault(name[1], []).append((reader.at, value))
        except ValueError:
            pass
        at = max(reader.at, name.end())
    return found


def read_arguments(
    text: str, opening: int, braces: str, variables: Variables
) -> tuple[tuple[Any, ...], Mapping[str, Any], int] | None:
    """(values, those given by name, index after the closing bracket) of what stands in the brackets that open at `opening`.

    These are literals, and names to which a literal was assigned before.
    """
    reader = Reader(text, opening + 1, braces)
    values: list[Any] = []
    named: dict[str, Any] = {}
    try:
        while not reader.skip(CLOSED):
            if (values or named) and not reader.skip(COMMA):
                return None
            keyword = KEYWORD.match(text, reader.at)
            if keyword and keyword[1] not in NAMED:
                reader.at = keyword.end()
                named[keyword[1]] = reader.value(1)
            elif named:
                return None
            elif (variable := VARIABLE.match(text, reader.at)) and variable[1] in variables:
                before = [value for end, value in variables[variable[1]] if end <= opening]
                if not before:
                    return None
                values.append(before[-1])
                reader.at = variable.end()
            else:
                values.append(reader.value(1))
    except ValueError:
        return None
    return tuple(values), named, reader.at


def _example(
    text: str, call: re.Match[str], name: str, interface: Interface | None, braces: str, variables: Variables
) -> Found | None:
    arguments = read_arguments(text, call.end(), braces, variables)
    if arguments is None:
        return None
    values, named, end = arguments
    if interface is not None:
        args = interface.bound(values, named)
    else:
        args = (*values, *named.values()) if len(named) <= 1 else None
    if args is None:
        return None
    line = max(0, text.rfind("\n", 0, call.start()) + 1, call.start() - MAX_BEFORE)
    before = text[line : call.start()]
    if not FOLLOWED.match(text, end) and not (BESIDE_CALL.match(text, end) and PROMPT.search(before)):
        return None
    result = _result(text, before, end, interface, braces)
    return Found(name, args, result[0], call.start(), result[1], 3) if result else None


def _result(text: str, before: str, end: int, interface: Interface | None, braces: str) -> tuple[Any, int] | None:
    """(expected, index after it) of a call that ends at `end` and has `before` before it on its line."""
    before = RECEIVER.sub("", BULLET.sub("", before))
    if (swapped := SWAPPED.search(before)) and _is_open(before[swapped.end() :]):
        return _swapped(text, before, swapped, end, braces)
    wrapper = WRAPPER.search(before)
    kind = _last_name(wrapper[1]) if wrapper and wrapper[1] else ""
    if kind in CONSTANTS and CLOSED.match(text, end):
        return CONSTANTS[kind], end
    if EQUAL.fullmatch(kind):
        comma = COMMA.match(text, end)
        return read_result(text, comma.end(), interface, braces, END_OF_ASSERT) if comma else None
    if kind in CONDITION and (matcher := MATCHER.match(text, end)):
        return read_result(text, matcher.end(), interface, braces)
    if kind and kind not in CONDITION | PRINTS:
        return None
    outside = before[: wrapper.start()] if wrapper else before
    if not kind and IN_EXPRESSION.search(outside):
        return None
    if kind in PRINTS and (closed := CLOSED.match(text, end)):
        end = closed.end()
    whole = END_OF_ASSERT if kind in CONDITION or ASSERT.search(before) else END
    return _led_to(text, outside, end, interface, braces, whole)


def _led_to(
    text: str, before: str, end: int, interface: Interface | None, braces: str, whole: re.Pattern[str]
) -> tuple[Any, int] | None:
    while text.startswith((" ", "\t", ";"), end):
        end += 1
    if PROMPT.search(before):
        if below := BELOW_PROMPT.match(text, end):
            return result_below(text, below.end(), interface, braces)
        if beside := read_result(text, end, interface, braces, BESIDE_PROMPT):
            return beside
    cell = CELL.match(text, end) if before.strip().startswith("|") else None
    at = cell.end() if cell else lead(text, end)
    if at is None:
        alone = not before.strip() and BELOW_CALL.match(text, end)
        return result_below(text, alone.end(), interface, braces) if alone else None
    computed = ARITHMETIC.match(text, at) if "\n" not in text[end:at] else None
    at = computed.end() if computed else at
    below = LINES.match(text, at)
    found = result_below(text, below.end(), interface, braces) if below else read_result(text, at, interface, braces, whole)
    return found if found and not DENIED.match(text, found[1]) else None


def _is_open(inside: str) -> bool:
    """Whether the bracket before `inside` is not closed in it."""
    return inside.count("(") >= inside.count(")")


def _swapped(text: str, before: str, wrapper: re.Match[str], end: int, braces: str) -> tuple[Any, int] | None:
    """The result in `assertEquals(4, f(2))`, where it stands before the call."""
    found = read_literal(before, wrapper.end(), braces)
    if found is None or before[found[1] :].strip() != "," or not END_OF_ASSERT.match(text, end):
        return None
    return (found[0], end) if EQUAL.fullmatch(_last_name(wrapper[1])) else None


def _last_name(dotted: str) -> str:
    """`assertequal` for `self.assert_equal`."""
    return dotted.rpartition(".")[2].replace("_", "").lower()


def _spaced_example(text: str, call: re.Match[str], interface: Interface) -> Found | None:
    """`f 2 "a" -> 4`, as in Haskell, or `(f 2 "a")`: as many literals as there are parameters, with spaces between them."""
    reader = Reader(text, call.end(), "list")
    try:
        args = interface.bound([reader.value() for _ in interface.parameters])
    except ValueError:
        return None
    if args is None:
        return None
    closed = CLOSED.match(text, reader.at) if text[: call.start()].endswith("(") else None
    at = lead(text, closed.end() if closed else reader.at)
    result = read_result(text, at, interface, "list") if at is not None else None
    return Found(interface.name, args, result[0], call.start(), result[1], 2) if result else None
