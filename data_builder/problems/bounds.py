"""Bounds that a statement sets: `1 <= nums.length <= 10^4`, `0 ≤ a_i < 100`, `$1 \\le n, m \\le 2 \\cdot 10^5$`, "positive"."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .interface import plain

MAX_STATEMENT = 50_000  # characters
POWER = r"(?:\d[\d,_]*\s*(?:\*|x|·|×|\\cdot|\\times)\s*)?\d+\s*(?:\^|\*\*)\s*\{?\s*\d+\s*\}?"
NUMBER = rf"-?\s*(?:{POWER}|\d[\d,_]*)"
WRITTEN = re.compile(r"-?(?:(\d+)(?:\*(?!\*)|x|·|×|\\cdot|\\times))?(\d+)(?:(?:\^|\*\*)(\d+))?")
LESS = r"(?:<=|<|≤|\\leq?q?\b|&lt;=?|⩽)"
QUANTITY = r"[A-Za-z_|][\w.|()\[\]{}]*"
CHAIN = re.compile(
    rf"(?<![\w.])({NUMBER})\s*({LESS})\s*({QUANTITY}(?:\s*,\s*{QUANTITY}){{0,5}})\s*({LESS})\s*({NUMBER}|{QUANTITY})(?![\w^])"
)
LENGTH = re.compile(r"(?:len\(|\|)?([A-Za-z]\w*)(?:\.(?:length|size)(?:\(\))?|\)|\|)")
ITEM = re.compile(r"([A-Za-z]\w*?)(?:\[\w+\](?:\[\w+\])?|_\{?[a-z0-9]\}?|\.?charAt)")


@dataclass(frozen=True)
class Range:
    """Bounds, both included, None where there is none. `length_of`: the name of the sequence whose length is an upper bound."""

    low: int | None = None
    high: int | None = None
    length_of: str | None = None

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Bounds:
    """Ranges by plain name (`interface.plain`): of values, of lengths, and of the items in a sequence."""

    values: dict[str, Range] = field(default_factory=dict)
    lengths: dict[str, Range] = field(default_factory=dict)
    items: dict[str, Range] = field(default_factory=dict)
    all_numbers: Range = Range()
    """What the statement's words say of every number ("positive integers")."""


def bounds_in(statement: str) -> Bounds:
    """All that are set in `statement`; of two for one name the first, none where it has more than 50,000 characters."""
    if len(statement) > MAX_STATEMENT:
        return Bounds()
    found = Bounds(all_numbers=_said_of_numbers(statement))
    for chain in CHAIN.finditer(statement.replace("$", "").replace("`", "")):
        low = _number(chain[1]) + (chain[2] in ("<", "&lt;"))
        high, length_of = None, None
        if re.match(r"[-\d\s]", chain[5]):
            high = _number(chain[5]) - (chain[4] in ("<", "&lt;"))
        elif length := LENGTH.fullmatch(chain[5]):
            length_of = plain(length[1])
        for quantity in re.split(r"\s*,\s*", chain[3]):
            _add(found, quantity, Range(low, high, length_of))
    return found


def _add(bounds: Bounds, quantity: str, found: Range) -> None:
    if length := LENGTH.fullmatch(quantity):
        bounds.lengths.setdefault(plain(length[1]), found)
    elif item := ITEM.fullmatch(quantity):
        bounds.items.setdefault(plain(item[1]), found)
    elif quantity.isidentifier():
        bounds.values.setdefault(plain(quantity), found)


def _said_of_numbers(statement: str) -> Range:
    if re.search(r"\bnon[- ]?negative\b", statement, re.IGNORECASE):
        return Range(low=0)
    return Range(low=1) if re.search(r"\b(?:positive|natural)\b", statement, re.IGNORECASE) else Range()


def _number(text: str) -> int:
    """`2 * 10^5`, `10**9`, `1,000`; of powers beyond 40 the 40th."""
    found = WRITTEN.fullmatch(re.sub(r"[\s,_{}]", "", text))
    assert found is not None
    factor, base, exponent = (int(group[:40]) if group else 1 for group in found.groups())
    return (-1 if text.startswith("-") else 1) * factor * base ** min(exponent, 40)
