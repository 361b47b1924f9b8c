"""Tables for people and for programs: as wide as the terminal, or tab-separated in a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence

import click

_GAP = 3  # between columns


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], notes: Iterable[str] = (), words: int = 1
) -> None:
    """Print a table whose columns stand in the order of their weight; the first `words` of them hold words, the others figures.

    In a terminal the last columns are left out where they do not fit, and figures lose their intervals before that. In a pipe all
    is printed: a line for the title and for each note, beginning with #, and tab-separated rows.
    """
    if not sys.stdout.isatty():
        click.echo(f"# {title}")
        for row in (columns, *rows):
            click.echo("\t".join(row))
        for note in notes:
            click.echo(f"# {note}")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    console = Console()
    kept, shown = fitting(columns, rows, console.width, words)
    folded = folded_heads(kept, shown, console.width, words)
    heads = [Column(head, no_wrap=True, justify="left" if i < words else "right") for i, head in enumerate(folded)]
    table = Table(*heads, title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for row in shown:
        table.add_row(*row)
    console.print(table)
    left_out = len(columns) - len(kept)
    more = [f"{left_out} more column{'s' if left_out > 1 else ''} in a wider terminal, in a pipe and in the report."]
    for note in (*notes, *(more if left_out else [])):
        console.print(note, highlight=False, markup=False)


def fitting(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, words: int = 1
) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) as far as they fit into `width`: whole, else without intervals, else without the last columns."""
    cells = [list(row) for row in rows]
    if _wide(columns, cells, words) > width:
        cells = [[*row[:words], *(cell.partition(" [")[0] for cell in row[words:])] for row in cells]
    count = len(columns)
    while count > words and _wide(columns[:count], [row[:count] for row in cells], words) > width:
        count -= 1
    return list(columns[:count]), [row[:count] for row in cells]


def folded_heads(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, words: int = 1) -> list[str]:
    """The heads of figures broken between words, into as few lines as make the table fit into `width`."""
    folded = list(columns)
    for lines in range(2, 1 + max(len(head.split()) for head in columns)):
        if _total(folded, rows) <= width:
            break
        folded = [head if i < words else _folded(head, lines) for i, head in enumerate(columns)]
    return folded


def _folded(head: str, lines: int) -> str:
    """In at most so many `lines`, each as short as that allows."""
    for width in range(max(map(len, head.split()), default=1), len(head) + 1):
        broken = textwrap.wrap(head, width, break_long_words=False, break_on_hyphens=False)
        if len(broken) <= lines:
            return "\n".join(broken)
    return head


def _total(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Characters of a line, where heads stand as they are."""
    return sum(max(map(len, (*head.split("\n"), *(row[i] for row in rows)))) + _GAP for i, head in enumerate(heads))


def _wide(columns: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> int:
    """Characters of a line; heads of figures may break between words."""
    total = 0
    for i, head in enumerate(columns):
        least = len(head) if i < words else max(map(len, head.split()), default=0)
        total += max([least, *(len(row[i]) for row in rows)]) + _GAP
    return total
