"""A report's files: figures as JSON, tables as Markdown, plots, and a page to browse. Equal lines give equal files.

The page embeds the lines as JSON and page.js shows them. No line holds a statement.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.files import write_atomically
from ..engine.html_page import html_page, picture
from .arms import BEST_OF_N
from .readings import FULL, RANDOM
from .replay import POOL
from .report import figures
from .report_text import cells, heads, markdown, notes, remarks, run_words, title
from .results import Results, read_results

_AXES = {"tokens": "tokens decoded a problem", "seconds": "wall time a problem, s", "steps": "sequential steps a problem"}
_MARKS = "osD^vP*Xhd"
_WORDS = ("policy", "guided by", "ranked by")  # columns of words: on the left, as they are


def write_report(lines: Sequence[Path], out: Path, seed: int = 0) -> dict[str, Any]:
    """Report on the results in `lines` to the folder `out`; returns the figures. Raises DataError where they do not belong
    together.
    """
    results = read_results(lines)
    made = figures(results, seed)
    out.mkdir(parents=True, exist_ok=True)
    plots = plot_all(made, out)
    contents = {
        "report.json": json.dumps(made, sort_keys=True) + "\n",
        "report.md": markdown(made, [path.name for path in plots]),
        "report.html": report_page(made, results, plots),
    }
    for name, text in contents.items():
        write_atomically(out / name, text)
    return made


# -- the page


def report_page(figures: dict[str, Any], results: Results, plots: Sequence[Path]) -> str:
    """The page; equal arguments give equal text."""
    told = "".join(f"<p>{html.escape(text.replace('`', ''))}</p>" for text in remarks(figures))
    parts = ["<h1>Benchmark report</h1>", f"<details><summary>How to read this</summary>{told}</details>"]
    parts.append(f'<div class="plots">{"".join(map(picture, plots))}</div>')
    parts += [_table(figures, table) for table in figures["tables"]]
    parts.append('<h2>Searches</h2><div id="browse"><noscript>Browsing the searches needs JavaScript.</noscript></div>')
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in run_words(figures["run"])
    )
    parts.append(f'<h2>What was run</h2><div class="wide"><table class="run">{rows}</table></div>')
    data = {"kind": results.run["kind"], "lines": browsed(results)}
    return html_page("Benchmark report", "".join(parts), _asset("page.css"), _asset("page.js"), data)


def browsed(results: Results) -> list[dict[str, Any]]:
    """What the page shows of each line."""
    left_out = {"data", "examples_seconds", "ranking_costs"}
    shown = [line for line in results.lines if line["policy"] != POOL and "skipped" not in line]
    return [{name: value for name, value in line.items() if name not in left_out} for line in shown]


def _table(figures: dict[str, Any], table: dict[str, Any]) -> str:
    columns = heads(figures)
    head = "".join(f"<th{_align(column)}>{html.escape(column)}</th>" for column in columns)
    body = ""
    for row in table["rows"]:
        made = "".join(f"<td{_align(columns[i])}>{_cell(text, columns[i])}</td>" for i, text in enumerate(cells(figures, row)))
        body += f'<tr class="{"leads" if row["leads"] else ""}">{made}</tr>'
    told = "".join(f"<p>{html.escape(note)}</p>" for note in notes(table))
    if table["independent"] is not None:
        rates = ", ".join(f"pass@{one['k']} {100 * one['value']:.1f}%" for one in table["independent"]["pass@k"])
        told += f"<p>Independent samples, unbiased: {html.escape(rates)}.</p>"
    opened = " open" if len(table["of"]) == 1 and table["of"]["tests_kind"] == FULL else ""
    grid = f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    return f"<details{opened}><summary>{html.escape(title(table))}</summary>{told}{grid}</details>"


def _align(column: str) -> str:
    return ' class="words"' if column in _WORDS else ""


def _cell(text: str, column: str) -> str:
    if column in _WORDS:
        return html.escape(text)
    value, _, interval = text.partition(" [")
    return f"{html.escape(value)} <small>{html.escape('[' + interval) if interval else ''}</small>"


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# -- pass@1 against what it costs: best-of-n as a curve over n, other policies as points


def plot_all(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the plots of the first table, which is of full tests where there are any. Returns the files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    files = []
    for axis in figures["axes"] if figures["tables"] else ():
        file = folder / f"pass-at-1-by-{axis}.png"
        picture, axes = plt.subplots(figsize=(9, 4.5))
        _draw(axes, figures["tables"][0]["rows"], axis)
        picture.tight_layout()
        picture.savefig(file, dpi=110, metadata={"Software": None})
        plt.close(picture)
        files.append(file)
    return files


def _draw(axes: Any, rows: list[dict[str, Any]], axis: str) -> None:
    """Colours are rankings, marks are policies. Of policies that a scorer guides, what a random choice gives is left out."""
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    rows = [row for row in rows if row["policy"] == BEST_OF_N or row["ranking"] != RANDOM]
    rankings, policies = sorted({row["ranking"] for row in rows}), sorted({row["policy"] for row in rows} - {BEST_OF_N})
    palette = plt.get_cmap("tab10" if len(rankings) <= 10 else "tab20")
    colours = {ranking: palette(i % palette.N) for i, ranking in enumerate(rankings)}
    marks = {policy: _MARKS[i % len(_MARKS)] for i, policy in enumerate(policies)}
    for ranking in rankings:
        curve = [row for row in rows if row["policy"] == BEST_OF_N and row["ranking"] == ranking]
        curve.sort(key=lambda row: row["costs"][axis])
        axes.plot([row["costs"][axis] for row in curve], list(map(_percent, curve)), color=colours[ranking], marker=".")
    for row in rows:
        if row["policy"] != BEST_OF_N:
            place = row["costs"][axis], _percent(row)
            axes.plot(*place, color=colours[row["ranking"]], marker=marks[row["policy"]], linestyle="none", alpha=0.85)
    known = [Line2D([], [], color=colour, label=f"ranked by {ranking}") for ranking, colour in colours.items()]
    known.append(Line2D([], [], color="#555", marker=".", label="best-of-n, its n along the line"))
    known += [Line2D([], [], color="#555", marker=mark, linestyle="none", label=policy) for policy, mark in marks.items()]
    known.append(_mark_winner(axes, rows, axis))
    axes.set(xlabel=_AXES[axis], ylabel="pass@1, %")
    axes.set_ylim(0, 1.1 * max(map(_percent, rows)) or 1)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    better = {"xycoords": "axes fraction", "textcoords": "axes fraction", "arrowprops": {"arrowstyle": "->", "color": "#555"}}
    axes.annotate("better", xy=(0.02, 0.98), xytext=(0.1, 0.86), color="#555", fontsize=8, **better)
    axes.legend(handles=known, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _mark_winner(axes: Any, rows: list[dict[str, Any]], axis: str) -> Any:
    """A ring around the highest pass@1, of equal ones the cheapest; its entry in the legend."""
    winner = max(rows, key=lambda row: (_percent(row), -row["costs"][axis]))
    ring = {"marker": "o", "markersize": 13, "fillstyle": "none", "color": "#c0392b", "markeredgewidth": 1.6, "linestyle": "none"}
    name = f"{winner['policy']} {winner['n']}, by {winner['ranking']}"
    [handle] = axes.plot(winner["costs"][axis], _percent(winner), label=f"highest: {name}", zorder=5, **ring)
    return handle


def _percent(row: dict[str, Any]) -> float:
    return float(100 * row["pass@1"]["value"])
