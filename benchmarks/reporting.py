"""Writes a report: figures as JSON, tables as Markdown, plots, and a page to browse. Equal lines give equal files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..engine.files import replaced_atomically
from .report import figures
from .report_text import markdown
from .results import read_results


def write_report(lines: Sequence[Path], out: Path, seed: int = 0) -> dict[str, Any]:
    """Report on the results in `lines` to the folder `out`; returns the figures. Raises LinesError where they do not belong
    together.
    """
    from .plots import plot_all
    from .report_page import html_page

    results = read_results(lines)
    made = figures(results, seed)
    out.mkdir(parents=True, exist_ok=True)
    plots = plot_all(made, out)
    contents = {
        "report.json": json.dumps(made, indent=1, sort_keys=True) + "\n",
        "report.md": markdown(made, [path.name for path in plots]),
        "report.html": html_page(made, results, plots),
    }
    for name, text in contents.items():
        with replaced_atomically(out / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return made
