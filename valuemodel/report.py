"""An evaluation for people: tables for the terminal, and one HTML page that holds everything, plots included."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

_RANKING = {
    "pass@1": "pass@1",
    "pass@3": "pass@3",
    "within_problem_auroc": "AUROC in a problem",
    "length_matched_auroc": "AUROC, lengths matched",
    "global_auroc": "AUROC overall",
    "brier_skill": "Brier skill",
    "calibration_error": "ECE",
}
_BEST_OF = {
    "pass@1": "pass@1",
    "gap@1": "of the gap at pass@1",
    "gain@1": "relative, pass@1",
    "pass@3": "pass@3",
    "gap@3": "of the gap at pass@3",
    "gain@3": "relative, pass@3",
}
_DECISIONS = {
    "predicted_correct": "called correct",
    "predicted_wrong": "called wrong",
    "accuracy": "accuracy",
    "precision_correct": "precision, correct",
    "recall_correct": "recall, correct",
    "precision_wrong": "precision, wrong",
    "recall_wrong": "recall, wrong",
    "balanced_accuracy": "balanced accuracy",
}
_CAPTIONS = {
    "figure-1a.png": "Values at the last token, by true label (the paper's Figure 1a).",
    "figure-1b.png": "The value along two rollouts (Figure 1b); their text is below.",
    "figure-2.png": "Accuracy against the share of the code, and of the answer, that was seen (Figure 2).",
    "by-tokens.png": "After so many generated tokens; an answer that is done keeps its last value.",
}
_WIDE = 200
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #1c1c1c; background:
#fff; } table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto;
} th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; } th:first-child,
td:first-child { text-align: left; } td small { color: #777; } tr.value td { font-weight: 600; } img { max-width: 100%; } pre {
padding: 1em; background: #f7f7f7; overflow-x: auto; }
"""


@dataclass(frozen=True)
class Grid:
    """A table: its title, column heads, and rows of a name and estimates ({value, low, high}, or None)."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[dict[str, float | None] | None]]]


def grids(figures: dict[str, Any]) -> list[Grid]:
    """The tables of `evaluation.evaluate`."""
    ranking = figures["ranking"]
    made = [
        Grid(
            "Whole answers",
            list(_RANKING.values()),
            [(scorer, [found.get(key) for key in _RANKING]) for scorer, found in ranking.items()],
        )
    ]
    best_of = figures["best_of"]
    rows = [(scorer, [found.get(key) for key in _BEST_OF]) for scorer, found in best_of["scorers"].items()]
    made.append(Grid(f"Best of {best_of['n']}, from random choice to the oracle", list(_BEST_OF.values()), rows))
    for data in ("imbalanced", "balanced"):
        for threshold in ("0.5", "base rate"):
            rows = [(s, [found[data][threshold][key] for key in _DECISIONS]) for s, found in figures["table_2"].items()]
            made.append(Grid(f"Table 2, {data} data, threshold {threshold}", list(_DECISIONS.values()), rows))
    for key, unit in (("by_tokens", "tokens"), ("by_share", "of the answer")):
        seen = [f"{row['seen']} {unit}" for row in figures[key]]
        for figure in ("within_problem_auroc", "brier_skill", "calibration_error"):
            scorers = figures[key][0]["scorers"]
            rows = [(s, [row["scorers"][s][figure] for row in figures[key]]) for s in scorers]
            made.append(Grid(f"{_RANKING[figure]} after", seen, rows))
    return made


def print_report(figures: dict[str, Any], console: Console) -> None:
    """The first tables, with intervals where the terminal is wide enough; the page has all."""
    console.print(_summary(figures))
    for grid in grids(figures)[:6]:
        table = Table(Column("", no_wrap=True), *grid.columns, title=grid.title, title_justify="left")
        for name, cells in grid.rows:
            texts = [_text(cell) for cell in cells]
            table.add_row(name, *(texts if console.width >= _WIDE else [text.partition(" ")[0] for text in texts]))
        console.print(table)


def html_page(figures: dict[str, Any], plots: Sequence[Path], about: dict[str, Any]) -> str:
    """One page without any other file. `about` names the value model and the data."""
    parts = [f"<h1>Value model evaluation</h1><p>{html.escape(_summary(figures))}</p>", _about(about)]
    for path in plots:
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(f'<p><img alt="{path.stem}" src="data:image/png;base64,{data}"><br>{html.escape(_CAPTIONS[path.name])}</p>')
    parts += [_example(example) for example in figures["figure_1b"]]
    parts += [_html_grid(grid) for grid in grids(figures)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Value model evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>{"".join(parts)}</body></html>\n'
    )


def _summary(figures: dict[str, Any]) -> str:
    data = figures["data"]
    return (
        f"{data['problems']} problems, {data['mixed_problems']} of them with correct and wrong answers; "
        f"{data['rollouts']} rollouts, {data['distinct_rollouts']} distinct, {data['correct'] / data['rollouts']:.1%} correct, "
        f"{data['mean_tokens']:.0f} tokens each. Intervals: 95%, bootstrap over problems."
    )


def _about(about: dict[str, Any]) -> str:
    rows = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in about.items())
    return f"<table>{rows}</table>"


def _text(cell: dict[str, float | None] | None) -> str:
    if cell is None or cell["value"] is None:
        return ""
    if cell["low"] is None:
        return f"{cell['value']:.3f}"
    return f"{cell['value']:.3f} [{cell['low']:.2f}, {cell['high']:.2f}]"


def _html_grid(grid: Grid) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in ["", *grid.columns])
    body = ""
    for name, cells in grid.rows:
        row = "".join(f"<td>{_html_cell(cell)}</td>" for cell in cells)
        body += f'<tr class="{"value" if name == "value" else ""}"><td>{html.escape(name)}</td>{row}</tr>'
    return f"<h2>{html.escape(grid.title)}</h2><table><tr>{head}</tr>{body}</table>"


def _html_cell(cell: dict[str, float | None] | None) -> str:
    value, _, interval = _text(cell).partition(" ")
    return f"{value} <small>{interval}</small>"


def _example(example: dict[str, Any]) -> str:
    """The answer's text, each token on the colour of the value after it."""
    spans = "".join(
        f'<span title="{value:.2f}" style="background: hsl({120 * value:.0f} 70% 85%)">{html.escape(token)}</span>'
        for token, value in zip(example["tokens"], example["values"], strict=True)
    )
    label = "correct" if example["correct"] else "wrong"
    return f"<h2>A {label} answer to {html.escape(example['problem'])}</h2><p>Red is value 0, green is 1.</p><pre>{spans}</pre>"
