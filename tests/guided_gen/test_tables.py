"""Tables: within the terminal's width whatever it is, and whole in a pipe."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.cli.tables import fitting, folded_heads, print_table

COLUMNS = ["policy", "ranked by", "n", "pass@1", "vs same ranking", "tokens saved"]
ROWS = [
    ["best-of-n", "logprob", "16", "14.7% [10.1, 19.5]", "", ""],
    ["speculative-rejection:alpha=0.25", "self-certainty", "16", "14.8% [10.2, 19.7]", "+0.1% [-0.2, 0.4]", "61.0% [59, 63]"],
]


@given(st.integers(62, 200))
def test_what_is_shown_fits_and_the_weightiest_columns_stay(width: int) -> None:
    columns, rows = fitting(COLUMNS, ROWS, width, words=2)
    assert columns == COLUMNS[: len(columns)] and all(len(row) == len(columns) for row in rows)
    longest = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    assert sum(longest) + 3 * len(columns) <= width + 3
    assert [row[:2] for row in rows] == [row[:2] for row in ROWS]


def test_intervals_go_before_columns_do() -> None:
    assert fitting(COLUMNS, ROWS, 200) == (COLUMNS, ROWS)
    columns, rows = fitting(COLUMNS, ROWS, 95, words=2)
    assert columns == COLUMNS and rows[1][3:] == ["14.8%", "+0.1%", "61.0%"]
    assert fitting(COLUMNS, ROWS, 78, words=2)[0] == COLUMNS[:5]


def test_a_pipe_gets_everything_tab_separated(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("A title", COLUMNS, ROWS, ["a note"], words=2)
    title, head, *rows, note = capsys.readouterr().out.splitlines()
    assert (title, note) == ("# A title", "# a note")
    assert [line.split("\t") for line in (head, *rows)] == [COLUMNS, *ROWS]


@pytest.mark.parametrize("width", [62, 80, 132])
def test_no_line_in_a_terminal_is_longer_than_it_is_wide(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table("A title", COLUMNS, ROWS, ["a note"], words=2)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, shown.splitlines())) <= width
    assert "speculative-rejection:alpha=0.25" in shown and (width < 80 or "14.8%" in shown)


@given(st.integers(30, 200))
def test_heads_are_broken_between_words_and_only_as_far_as_is_needed(width: int) -> None:
    columns, rows = fitting(COLUMNS, ROWS, width, words=2)
    folded = folded_heads(columns, rows, width, words=2)
    assert [head.replace("\n", " ") for head in folded] == columns and folded[:2] == columns[:2]
    assert folded == columns or width < 150


def test_no_head_is_cut(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    heads = ["", "pass@1", "of the gap at pass@1", "relative, pass@1", "of the gap at pass@3", "relative, pass@3"]
    print_table("A title", heads, [["self-certainty", *["0.500"] * 5]])
    assert "…" not in capsys.readouterr().out
