"""Examples that give values and what comes of them, without a call: `For n = 2, the output should be 4`, `[1, 2] -> 3`.

The values are matched to the parameters, by name or in order. Numbers alone count only where they begin a line: in a sentence
they are too often part of a formula.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .interface import Interface, plain, same_name
from .literals import NAMED, Reader
from .result_text import END, Found, read_result, result_below

# Names that label a result or a remark, never a parameter before a value.
NO_PARAMETER = r"(?!(?:outputs?|ou\w{1,3}ut|results?|returns?|expected|answer|explanation|notes?|examples?)\b)"
NAME = re.compile(
    rf"(?<![\w.]){NO_PARAMETER}([A-Za-z_]\w*)[ \t]*(=(?!=)|:(?!:)|\bis\b|\bequals\b)[ \t]*(?=[\"'“‘\[({{\d.tTfFnN−-])",
    re.IGNORECASE,
)
START = re.compile(
    rf"{NAME.pattern}|(?<![\w.])(?=[A-Za-z_]\w*[ \t]*,[ \t]*[A-Za-z_][\w, \t]{{0,100}}=[^=])"
    r"|[\"'“\[({]|(?<![\w.,:/\"'-])-?\d|\b(?:true|false|none|null|nil)\b",
    re.IGNORECASE,
)
NAME_BEHIND = re.compile(r"[ \t]+([A-Za-z_]\w*)")
TARGETS = re.compile(r"([A-Za-z_]\w*(?:[ \t]*,[ \t]*[A-Za-z_]\w*)+)[ \t]*=(?!=)[ \t]*")
NEXT_VALUE = re.compile(r"[ \t]*(?:[,;&]|\band\b)[ \t]*(?:\band\b[ \t]*)?(?:\n[ \t]*)?", re.IGNORECASE)
NEXT_LINE = re.compile(r"[ \t]*\n[ \t]*")
NEW_LINES = re.compile(r"(?:[ \t]*\n){0,2}[ \t]*")
NEXT_LINES = re.compile(r"(?:[ \t]*\n){1,3}[ \t]*")

MAX_BEFORE = 60  # characters of the line before the values that are looked at
LINE_START = re.compile(
    r"(?:^|\n)[ \t]*(?:[>*+•-][ \t]+)?(?:\(?\d{1,2}[.)][ \t]+)?"
    r"(?:(?:for (?:example|instance)|examples?|e\.g\.|ex)[ \t]*\d*[:,.]?[ \t]*)?\(?$",
    re.IGNORECASE,
)
INTRODUCED = re.compile(
    r"\b(?:for|given|with|when|if|let|inputs?|examples?|e\.g\.?|case|say|suppose|where|passed(?: are| is| in)?)\b[\s:,]*"
    r"(?:(?:an?|the|input|data|string|array|list|number|integer|value|of|word|text|parameters?|arguments?)\s+){0,5}$",
    re.IGNORECASE,
)
IN_EXPRESSION = re.compile(r"(?:[-=]>|[→⇒➞]|[-+*/^%=<>)\]}\d\"'])[ \t]*$|[.\w]$")

ARROW = re.compile(
    r"(?:[ \t]*|\s*\n[ \t]*(?:\#|//)?[ \t]*)(?:-+>+|=+>+|[➞→⇒⟶⟹➔↦➜⇨])[ \t]*(?:(?:should )?returns?[ \t]+)?", re.IGNORECASE
)
NAMED_ARROW = re.compile(rf"{ARROW.pattern}|[ \t]*:[ \t]*(?=\S)", re.IGNORECASE)
FILLER = (
    r"(?:then|and|so|the|your|our|expected|correct|final|resulting|function|method|code|program|it|we|you|this|that|which|should"
    r"|must|would|will|can|have|has|to|be|is|are|as|an?|value|for|of|by|array|list|string|number|integer|int|following|look|like)"
)
TRIGGER = r"(?:outputs?|results?|returns?|returned|returning|answer|equals?|gives?|get|yields?|prints?|becomes?)"
PHRASE = re.compile(
    rf"[\s,.;:)]*(?:{FILLER}\b[\s:,]+){{0,8}}{TRIGGER}\b[ \t:=]*(?:{FILLER}\b[ \t:]*){{0,6}}=?[ \t]*", re.IGNORECASE
)
RETURNS = re.compile(r"[ \t]*(?:should |must |will |would )?(?:returns?|gives?|outputs?|be)[ \t]+", re.IGNORECASE)
LABEL = re.compile(r"\s*\n\s*(?:outputs?|results?|returns?|answer|expected)\b", re.IGNORECASE)
HEADING = re.compile(r"\s*\n\s*\w+[ \t]*\d")
WE_RETURN = re.compile(
    r"(?:[^\n]*\n){1,8}?[^\n]*?(?:\bwe return|^[ \t]*(?:so )?returns?)[ \t]+(?:the answer[ \t]+)?", re.IGNORECASE | re.MULTILINE
)
ALONE = re.compile(r"[ \t]*\n")


def value_forms(text: str, interface: Interface) -> Iterator[Found]:
    """All examples in `text` that give values for the parameters of `interface` and, right after, the result."""
    yield from _without_steps(_said_of_values(text, interface))


def _without_steps(found: Iterator[Found]) -> list[Found]:
    """Not the steps of a computation, `[3, 1] -> [1, 3]` and then `[1, 3] -> [1]`: there one's result is another's argument."""
    listed = list(found)
    steps = [
        index
        for index, (one, after) in enumerate(itertools.pairwise(listed))
        if isinstance(one.expected, str | list) and after.args == (one.expected,) != one.args
    ]
    return [one for index, one in enumerate(listed) if not {index, index - 1} & set(steps)]


def _said_of_values(text: str, interface: Interface) -> Iterator[Found]:
    at = 0
    while found := START.search(text, at):
        given = read_values(text, found.start(), interface)
        at = max(given.end, found.end(), found.start() + 1)
        args = given.arguments(interface) if given.values else None
        result = _result(text, found.start(), given, interface) if args is not None else None
        if args is not None and result is not None:
            at = result[1]
            yield Found(interface.name, args, result[0], found.start(), at, 1)


@dataclass
class Values:
    """What was read one after the other: values, the names before them ("" without), and where the last ends."""

    names: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    end: int = 0
    said: bool = False
    """Whether a name and its value are joined by a word: `n is 2`."""

    def arguments(self, interface: Interface) -> tuple[Any, ...] | None:
        """In the order of the parameters: those with a parameter's name, the others where there are still places.

        `(1, 2)` is two values where two parameters are to be filled. None if the values do not fit the parameters.
        """
        values, names = self.values, self.names
        required = sum(parameter.required for parameter in interface.parameters)
        if len(values) == 1 and required > 1 and isinstance(values[0], tuple):
            values, names = list(values[0]), [""] * len(values[0])
        free = {plain(parameter.name): index for index, parameter in enumerate(interface.parameters)}
        placed: dict[int, Any] = {}
        others = []
        for name, value in zip(names, values, strict=True):
            index = free.pop(plain(name), None) if name else None
            if index is None:
                others.append(value)
            else:
                placed[index] = value
        places = [*free.values(), *range(len(interface.parameters), len(values))]
        placed.update(zip(places, others, strict=False))
        if sorted(placed) != list(range(len(values))):
            return None
        return interface.bound([placed[index] for index in range(len(placed))])

    def names_one_of(self, interface: Interface) -> bool:
        """Whether one of the names is a parameter's."""
        return any(same_name(name, parameter.name) for name in self.names for parameter in interface.parameters)


def read_values(text: str, at: int, interface: Interface | None = None) -> Values:
    """All literals from `at` on, with names or without, until something else stands there. Named ones also line by line.

    With `interface` the name of a parameter may also follow its value: `10 apples, 2 trees`.
    """
    names = {plain(parameter.name) for parameter in interface.parameters} if interface else set()
    found = Values(end=at)
    reader = Reader(text, at, "list")
    reader.skip(NEW_LINES)
    targets = reader.skip(TARGETS)
    try:
        while True:
            start = reader.at
            named = bool(found.names and found.names[-1])
            if found.values and not reader.skip(NEXT_VALUE) and not (named and reader.skip(NEXT_LINE)):
                break
            name = NAME.match(text, reader.at)
            if name and name[1] not in NAMED:
                reader.at = name.end()
                found.said |= name[2].isalpha()
            elif named and "\n" in text[start : reader.at]:
                break
            found.values.append(reader.value())
            found.names.append(name[1] if name and name[1] not in NAMED else "")
            behind = NAME_BEHIND.match(text, reader.at)
            if behind and not found.names[-1] and plain(behind[1]) in names:
                found.names[-1], reader.at = behind[1], behind.end()
            found.end = reader.at
    except ValueError:
        found.end = found.end if found.values else reader.at
    if targets:
        listed = re.split(r"[ \t]*,[ \t]*", targets[1])
        found.names = listed if len(listed) == len(found.values) else found.names
    return found


def _result(text: str, start: int, given: Values, interface: Interface) -> tuple[Any, int] | None:
    """(result, index after it) that is said to come of the values between `start` and their end."""
    before = text[max(0, text.rfind("\n", 0, start), start - MAX_BEFORE) : start]
    introduced = INTRODUCED.search(before) is not None or LINE_START.search(before) is not None
    named = given.names_one_of(interface)
    if (given.said and not named) or (not introduced and IN_EXPRESSION.search(before)):
        return None
    is_plain = not named and not introduced
    if isinstance(given.values[0], str) and same_name(given.values[0], interface.name):
        return None
    if is_plain and isinstance(given.values[0], int | float | tuple):
        return None
    if arrow := (NAMED_ARROW if named else ARROW).match(text, given.end):
        return read_result(text, arrow.end(), interface, "list", END)
    phrase = RETURNS.match(text, given.end) if is_plain else PHRASE.match(text, given.end)
    if phrase and not (HEADING.match(text, given.end) or ("\n" in phrase[0] and LABEL.match(text, given.end) and not named)):
        below = NEXT_LINES.match(text, phrase.end())
        return result_below(text, below.end(), interface, "list") if below else read_result(text, phrase.end(), interface, "list")
    if introduced and named and ALONE.match(text, given.end) and (later := WE_RETURN.match(text, given.end)):
        between = text[given.end : later.end()]
        return None if NAME.search(between) else read_result(text, later.end(), interface, "list")
    return None
