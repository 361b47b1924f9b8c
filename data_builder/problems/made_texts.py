"""Texts for standard input, made from those of the examples by small changes that keep their structure.

A number is changed only where it counts nothing that the text shows: the lines or rows below it, the items of the next line, the
characters of the next word. A line of n items below a line with n is made longer and shorter together with that n.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from .bounds import Bounds

MAX_CHARACTERS = 5000  # of an example that is changed
MAX_TRIES = 40  # changes of one example that are looked at
INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})")

Rows = list[list[str]]


def made_texts(shown: Sequence[str], bounds: Bounds, most: int, draw: random.Random) -> tuple[str, ...]:
    """At most `most` texts that are none of `shown`. None where an example is too long to be changed."""
    examples = [_rows(text) for text in shown if len(text) <= MAX_CHARACTERS]
    counted = _counted_lines(examples) if examples else set()
    known = {_text(rows) for rows in examples}
    made: dict[str, None] = {}
    for several in zip_longest(*(_changed(rows, counted, bounds, draw) for rows in examples)):
        for text in several:
            if text is not None and text not in known and len(made) < most:
                made.setdefault(text)
    return tuple(made)


def _rows(text: str) -> Rows:
    return [line.split() for line in text.rstrip("\n").split("\n")]


def _text(rows: Rows) -> str:
    return "".join(" ".join(row) + "\n" for row in rows)


def _counted_lines(examples: Sequence[Rows]) -> set[int]:
    """The lines that hold as many items as the number alone in the line before says, in all examples.

    Not where that may as well be the number of lines that follow.
    """
    shortest = min(map(len, examples))
    return {
        index
        for index in range(1, shortest)
        if all(rows[index - 1] == [str(len(rows[index]))] for rows in examples)
        and not all(len(rows) - index == len(rows[index]) for rows in examples)
    }


def _changed(rows: Rows, counted: set[int], bounds: Bounds, draw: random.Random) -> Iterator[str]:
    changes = [*_other_numbers(rows, bounds, draw), *_other_words(rows, draw), *_other_orders(rows, counted, draw)]
    for index in counted:
        changes += _other_lengths(rows, index, draw)
    draw.shuffle(changes)
    yield from map(_text, changes[:MAX_TRIES])


def _with(rows: Rows, index: int, row: list[str]) -> Rows:
    return [*rows[:index], row, *rows[index + 1 :]]


def _other_numbers(rows: Rows, bounds: Bounds, draw: random.Random) -> Iterator[Rows]:
    """One number changed that counts nothing, to another of the text's size or near it, within all bounds of the statement."""
    numbers = [int(item) for row in rows for item in row if INTEGER.fullmatch(item)]
    ranges = [*bounds.values.values(), *bounds.items.values()]
    lows = [one.low for one in ranges if one.low is not None] or [bounds.all_numbers.low or min([0, *numbers])]
    highs = [one.high for one in ranges if one.high is not None]
    low, high = max(min(lows), min([1, *numbers])), min(highs, default=None)
    for index, row in enumerate(rows):
        for place, item in enumerate(row):
            if not INTEGER.fullmatch(item) or _counts(rows, index, int(item)):
                continue
            value = int(item)
            for other in (value + 1, value - 1, draw.choice(numbers), low, 2 * value):
                if other != value and other >= low and (other <= max(numbers) or (high is not None and other <= high)):
                    yield _with(rows, index, [*row[:place], str(other), *row[place + 1 :]])


def _counts(rows: Rows, index: int, value: int) -> bool:
    """Whether a number in the line `index` may be the count of something: of lines, of items or of characters."""
    below = rows[index + 1 :]
    sizes = {
        len(rows),
        len(below),
        *(len(row) for row in below),
        *(len(item) for row in rows for item in row if not INTEGER.fullmatch(item)),
    }
    return bool(below) and (value in sizes or (index == 0 and bool(value) and len(below) % value == 0))


def _other_words(rows: Rows, draw: random.Random) -> Iterator[Rows]:
    """A word alone in its line with its characters in another order, or all the same: of the same length and alphabet."""
    for index, row in enumerate(rows):
        if len(row) == 1 and len(row[0]) > 1 and not re.search(r"[\d.-]", row[0]) and rows.count(row) == 1:
            word = row[0]
            for other in (word[::-1], "".join(draw.sample(word, len(word))), word[0] * len(word), word[-1] * len(word)):
                yield _with(rows, index, [other])


def _other_orders(rows: Rows, counted: set[int], draw: random.Random) -> Iterator[Rows]:
    """A line of several numbers reversed, sorted, shuffled or with one of them throughout."""
    for index, row in enumerate(rows):
        if index in counted and len(row) > 1 and all(map(INTEGER.fullmatch, row)):
            for other in (row[::-1], sorted(row, key=int), draw.sample(row, len(row)), row[:1] * len(row)):
                yield _with(rows, index, other)


def _other_lengths(rows: Rows, index: int, draw: random.Random) -> Iterator[Rows]:
    """A counted line with fewer or more items, and the number before it."""
    row = rows[index]
    for other in (row[:-1], row[1:], row[:1], [*row, draw.choice(row)] if row else [], row * 2):
        if other:
            yield _with(_with(rows, index - 1, [str(len(other))]), index, other)
