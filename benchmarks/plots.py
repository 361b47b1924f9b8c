"""pass@1 against what it costs, a picture for each cost: best-of-n as a curve over n, other policies as points."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .arms import BEST_OF_N
from .readings import RANDOM

_NAMES = {"tokens": "tokens decoded a problem", "seconds": "wall time a problem, s", "steps": "sequential steps a problem"}
_MARKS = "osD^vP*Xhd"


def plot_all(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw the plots of the first table, which is of full tests where there are any. Returns the files."""
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


def _draw(axes: Axes, rows: list[dict[str, Any]], axis: str) -> None:
    """Colours are rankings, marks are policies. Of policies that a scorer guides, what a random choice gives is left out."""
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
    axes.set(xlabel=_NAMES[axis], ylabel="pass@1, %")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.25)
    axes.legend(handles=known, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _percent(row: dict[str, Any]) -> float:
    return float(100 * row["pass@1"]["value"])
