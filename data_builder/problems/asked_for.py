"""The function that a statement asks for in words: "Write a function `add(a, b)`", "a function called slug", "a function that".

A signature in Python (`def add(a, b):`) says more; `plain_text` looks for one first. Parameters that no signature tells are taken
from the labels of examples (`Input: nums = [2, 7], target = 9`), or counted in rows of `2, 3 -> 8`.
"""

from __future__ import annotations

import keyword
import re

from .interface import Interface, Parameter, find_interface, interface_of, same_name
from .labelled_forms import INPUT
from .shown_text import ShownText
from .table_forms import arrow_rows
from .value_forms import read_values

UNNAMED = "solution"
"""The name of a function that is asked for without one."""
# English, then German, Spanish, Portuguese, French, Italian, Polish and Russian.
VERBS = (
    "write|implement|create|define|make|complete|code|build|develop|need|want|design|provide|finish|fix|give me"
    "|schreiben?|implementieren?|escrib[ae]|escreva|implementa|écri(?:s|vez|re)|scrivi|napisz|напиши(?:те)?|реализуй(?:те)?"
)
FUNCTION = r"(?:func(?:tion)?|funktion|función|função|fonction|funzione|funkcję|функци[юя])"
SIGNATURE = re.compile(
    r"(?<![\w.'\"])([A-Za-z_]\w*)\(([^()\n]{1,300})\)(?:[ \t]*->[ \t]*(\w{1,40}(?:\.\w{1,40})*(?:\[[\w\[\], .|]{1,80}\])?))?"
)
ASKED = re.compile(
    rf"\b(?:{VERBS})\b[^.\n(]{{0,80}}$|\b{FUNCTION}(?:[ \t]+(?:called|name|named|signature|is))?[ \t:]*$", re.IGNORECASE
)
CALLED = re.compile(r"\b(?:function|method)(?:[ \t]*,)?[ \t]+(?:called|named)[ \t]+[\"'“]?([A-Za-z_]\w*)", re.IGNORECASE)
SPELLED = re.compile(  # as only names in code are: in snake_case or camelCase
    rf"\b(?i:{VERBS})[ \t]+[\"'“`]?([a-z][a-z0-9]\w{{0,40}}(?:_|(?<=[a-z0-9])(?=[A-Z]))\w{{1,40}})[\"'”`]?(?=[.,:;]?(?:\s|$))"
)
BARE = re.compile(rf"\b(?:{VERBS})[ \t]+(?:[\w-]+[ \t]+){{0,4}}{FUNCTION}\b", re.IGNORECASE)
PROGRAM = re.compile(r"\bprogram\b|\bstandard input\b|\bstdin\b", re.IGNORECASE)
MAX_BEFORE = 120  # characters of the line before a signature that are looked at


def asked_name(statement: str) -> str | None:
    """The name of the function that the statement asks for, `UNNAMED` if it tells none, None if it asks for no function."""
    text = ShownText(statement).text
    for found in SIGNATURE.finditer(text):
        before = text[max(0, text.rfind("\n", 0, found.start()) + 1, found.start() - MAX_BEFORE) : found.start()]
        if ASKED.search(before) and not PROGRAM.search(before) and _interface(found):
            return found[1]
    called = CALLED.search(text)
    if called and not keyword.iskeyword(called[1]):
        return called[1]
    if PROGRAM.search(text):
        return None
    if spelled := SPELLED.search(text):
        return spelled[1]
    return UNNAMED if BARE.search(text) or _labelled(text, UNNAMED) else None


def known_interface(statement: str, name: str, starter_code: str = "") -> Interface | None:
    """The interface of `name` in the starter code, else as the statement defines or describes it; None where it tells nothing."""
    if defined := find_interface(starter_code or statement, name):
        return defined
    text = ShownText(statement).text
    for found in SIGNATURE.finditer(text):
        if same_name(found[1], name) and (interface := _interface(found)):
            return interface
    return _labelled(text, name) or _counted(text, name)


def _interface(signature: re.Match[str]) -> Interface | None:
    """Of what may be a call, `f(2)`, or a signature, `f(n)`: only the latter has names alone in its brackets."""
    returns = f" -> {signature[3]}" if signature[3] else ""
    return interface_of(f"def {signature[1]}({signature[2]}){returns}:")


def _labelled(text: str, name: str) -> Interface | None:
    """The parameters that the first labelled example names."""
    for label in INPUT.finditer(text):
        names = read_values(text, label.end()).names
        if names and all(names) and len(set(names)) == len(names):
            return Interface(name, tuple(map(Parameter, names)))
    return None


def _counted(text: str, name: str) -> Interface | None:
    """Parameters without names, as many as there are values in each of at least two rows of `2, 3 -> 8`, or behind each label
    (`Input: "ab", 2`), where bare numbers in a row may be the items of one list.
    """
    counts = list(arrow_rows(text))
    if len(counts) < 2:
        given = [read_values(text, label.end()).values for label in INPUT.finditer(text)]
        counts = [len(values) for values in given if len(values) == 1 or any(isinstance(one, str | list) for one in values)]
        if not counts or len(counts) < len(given):
            return None
    if len(set(counts)) > 1:
        return None
    return Interface(name, tuple(Parameter(f"value{index}") for index in range(counts[0])))
