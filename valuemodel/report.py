"""An evaluation for people: tables, plots, a Markdown file, and one HTML page that holds everything."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.files import write_atomically
from ..engine.html_page import html_page, picture
from ..engine.scorers import VALUE

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
_BESIDE: dict[str, Any] = {"fontsize": 8, "loc": "center left", "bbox_to_anchor": (1.01, 0.5), "frameon": False}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #1c1c1c; background:
#fff; } table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto;
} th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; } th:first-child,
td:first-child, .about td { text-align: left; } td small { color: #777; } tr.value td { font-weight: 600; }
img { max-width: 100%; } pre { padding: 1em; background: #f7f7f7; overflow-x: auto; }
"""


def write_evaluation(figures: dict[str, Any], out: Path) -> None:
    """evaluation.json, plots, report.md and report.html in `out`, all from the figures of `evaluation.evaluate`, with what was
    evaluated under "about"."""
    plots = plot_all(figures, out)
    contents = {
        "evaluation.json": json.dumps(figures) + "\n",
        "report.md": markdown(figures, plots),
        "report.html": report_page(figures, plots),
    }
    for name, text in contents.items():
        write_atomically(out / name, text)


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


def texts(grid: Grid) -> list[list[str]]:
    """A grid's rows as text, the name first."""
    return [[name, *map(_text, cells)] for name, cells in grid.rows]


def markdown(figures: dict[str, Any], plots: Sequence[Path]) -> str:
    """The summary, the plots, which lie beside it, and all tables."""
    parts = ["# Value model evaluation", summary(figures), _table(["", ""], [[k, f"`{v}`"] for k, v in figures["about"].items()])]
    parts += [f"![{_CAPTIONS[path.name]}]({path.name})" for path in plots]
    for grid in grids(figures):
        parts += [f"## {grid.title}", _table(["", *grid.columns], texts(grid))]
    return "\n\n".join(parts) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["-"] * len(columns), *rows))


def report_page(figures: dict[str, Any], plots: Sequence[Path]) -> str:
    """One page without any other file."""
    about = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in figures["about"].items())
    parts = [f"<h1>Value model evaluation</h1><p>{html.escape(summary(figures))}</p><table class='about'>{about}</table>"]
    parts += [f"<p>{picture(path)}<br>{html.escape(_CAPTIONS[path.name])}</p>" for path in plots]
    parts += [_example(example) for example in figures["figure_1b"]]
    parts += [_html_grid(grid) for grid in grids(figures)]
    return html_page("Value model evaluation", "".join(parts), _STYLE)


def summary(figures: dict[str, Any]) -> str:
    data = figures["data"]
    return (
        f"{data['problems']} problems, {data['mixed_problems']} of them with correct and wrong answers; "
        f"{data['rollouts']} rollouts, {data['distinct_rollouts']} distinct, {data['correct'] / data['rollouts']:.1%} correct, "
        f"{data['mean_tokens']:.0f} tokens each. Intervals: 95%, bootstrap over problems."
    )


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


# -- plots

_CORRECT, _WRONG, _GREY = "#1a7f37", "#c0392b", "#888888"


def plot_all(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every figure of `evaluation.evaluate` into `folder`. Returns the files, in the order in which a reader wants them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "figure-1a.png": _distributions,
        "figure-1b.png": _traces,
        "figure-2.png": _accuracy,
        "by-tokens.png": _by_tokens,
    }
    files = []
    for name, draw in plots.items():
        if name == "figure-1b.png" and not figures["figure_1b"]:
            continue
        draw(figures, plt)
        plt.tight_layout()
        plt.savefig(folder / name, dpi=120)
        plt.close()
        files.append(folder / name)
    return files


def _distributions(figures: dict[str, Any], plt: Any) -> None:
    shares = figures["figure_1a"]
    edges = shares["edges"]
    _, axes = plt.subplots(figsize=(6, 3.5))
    for name, colour in (("correct", _CORRECT), ("wrong", _WRONG)):
        axes.stairs(shares[name], edges, fill=True, alpha=0.45, color=colour, label=f"{name} answers")
    axes.set(xlabel="value at the last token", ylabel="share of the class", title="Values by label (better: far apart)")
    axes.legend()


def _traces(figures: dict[str, Any], plt: Any) -> None:
    _, axes = plt.subplots(figsize=(8, 3.5))
    for example in figures["figure_1b"]:
        label, colour = ("correct", _CORRECT) if example["correct"] else ("wrong", _WRONG)
        axes.plot(range(1, len(example["values"]) + 1), example["values"], color=colour, label=f"a {label} answer")
    axes.set(xlabel="generated tokens", ylabel="value", ylim=(0, 1), title=f"Value along two rollouts of {example['problem']}")
    axes.legend()


def _accuracy(figures: dict[str, Any], plt: Any) -> None:
    _, both = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axes, (kind, title) in zip(
        both, (("code", "share of the code seen"), ("answer", "share of the answer seen")), strict=True
    ):
        points = figures["figure_2"][kind]
        _lines(axes, [p["share"] for p in points], [{s: f["balanced"] for s, f in p["scorers"].items()} for p in points])
        axes.axhline(0.5, color=_GREY, linestyle=":", label="chance")
        axes.set(xlabel=title)
    both[0].set(ylabel="accuracy, classes balanced")
    both[1].legend(**_BESIDE)


def _by_tokens(figures: dict[str, Any], plt: Any) -> None:
    rows = figures["by_tokens"]
    _, both = plt.subplots(1, 2, figsize=(11, 4))
    for axes, (key, label) in zip(
        both, (("within_problem_auroc", "within-problem AUROC"), ("brier_skill", "Brier skill")), strict=True
    ):
        _lines(axes, [int(row["seen"]) for row in rows], [{s: f[key] for s, f in row["scorers"].items()} for row in rows])
        axes.set(xlabel="generated tokens seen", ylabel=label)
        axes.axhline(0.5 if key == "within_problem_auroc" else 0, color=_GREY, linestyle=":")
    both[1].legend(**_BESIDE)


def _lines(axes: Any, places: list[Any], rows: list[dict[str, dict[str, float | None]]]) -> None:
    """One line a scorer, the value model's with its interval; a ring around what is best at the end, an arrow to the better."""
    for scorer in rows[0]:
        values = [_number(row[scorer]["value"]) for row in rows]
        main = scorer == VALUE
        axes.plot(places, values, label=scorer, linewidth=2.2 if main else 1, marker="o" if main else None, markersize=3)
        if main:
            low, high = ([_number(row[scorer][bound]) for row in rows] for bound in ("low", "high"))
            axes.fill_between(places, low, high, alpha=0.2)
    best = max(_number(found["value"]) for found in rows[-1].values() if found["value"] is not None)
    ring = {"marker": "o", "markersize": 11, "fillstyle": "none", "color": _WRONG, "markeredgewidth": 1.4, "linestyle": "none"}
    axes.plot(places[-1], best, label="best", **ring)
    arrow = {"arrowstyle": "->", "color": _GREY}
    ends = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
    axes.annotate("better", xy=(0.88, 0.98), xytext=(0.88, 0.8), ha="center", color=_GREY, fontsize=8, arrowprops=arrow, **ends)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
