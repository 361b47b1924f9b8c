"""A report as one HTML page without any other file: tables, plots, and every search to browse.

Lines are embedded as JSON and shown by page.js, which writes text as text, never as markup. No line holds a statement.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .readings import FULL
from .replay import POOL
from .report_text import cells, heads, notes, remarks, run_words, title
from .results import Results

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def html_page(figures: dict[str, Any], results: Results, plots: Sequence[Path]) -> str:
    """The page; equal arguments give equal text."""
    told = "".join(f"<p>{html.escape(text.replace('`', ''))}</p>" for text in remarks(figures))
    parts = ["<h1>Benchmark report</h1>", f"<details><summary>How to read this</summary>{told}</details>"]
    parts.append(f'<div class="plots">{"".join(_picture(path) for path in plots)}</div>')
    parts += [_table(figures, table) for table in figures["tables"]]
    parts.append('<h2>Searches</h2><div id="browse"><noscript>Browsing the searches needs JavaScript.</noscript></div>')
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in run_words(figures["run"])
    )
    parts.append(f'<h2>What was run</h2><div class="wide"><table class="run">{rows}</table></div>')
    # In a script element only "</script" and "<!--" could end the data.
    data = json.dumps({"kind": results.run["kind"], "lines": browsed(results)}, separators=(",", ":")).replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Benchmark report</title>'
        f'<meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{_asset('page.css')}</style></head><body>{''.join(parts)}"
        f'<script type="application/json" id="data">{data}</script><script>{_asset("page.js")}</script></body></html>\n'
    )


def browsed(results: Results) -> list[dict[str, Any]]:
    """What the page shows of each line."""
    left_out = {"data", "examples_seconds", "ranking_costs"}
    shown = [line for line in results.lines if line["policy"] != POOL and "skipped" not in line]
    return [{name: value for name, value in line.items() if name not in left_out} for line in shown]


def _table(figures: dict[str, Any], table: dict[str, Any]) -> str:
    columns = heads(figures)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = ""
    for row in table["rows"]:
        made = "".join(f"<td>{_cell(text, columns[i])}</td>" for i, text in enumerate(cells(figures, row)))
        body += f'<tr class="{"leads" if row["leads"] else ""}">{made}</tr>'
    told = "".join(f"<p>{html.escape(note)}</p>" for note in notes(table))
    if table["independent"] is not None:
        rates = ", ".join(f"pass@{one['k']} {100 * one['value']:.1f}%" for one in table["independent"]["pass@k"])
        told += f"<p>Independent samples, unbiased: {html.escape(rates)}.</p>"
    opened = " open" if len(table["of"]) == 1 and table["of"]["tests_kind"] == FULL else ""
    grid = f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
    return f"<details{opened}><summary>{html.escape(title(table))}</summary>{told}{grid}</details>"


def _cell(text: str, column: str) -> str:
    if column in ("policy", "guided by", "ranked by"):
        return html.escape(text)
    value, _, interval = text.partition(" [")
    return f"{html.escape(value)} <small>{html.escape('[' + interval) if interval else ''}</small>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
