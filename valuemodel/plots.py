"""The figures of an evaluation as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from ..engine.scorers import VALUE

_CORRECT, _WRONG, _GREY = "#1a7f37", "#c0392b", "#888888"


def plot_all(figures: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every figure of `evaluation.evaluate` into `folder`. Returns the files, in the order in which a reader wants them."""
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
        draw(figures)
        plt.tight_layout()
        plt.savefig(folder / name, dpi=120)
        plt.close()
        files.append(folder / name)
    return files


def _distributions(figures: dict[str, Any]) -> None:
    shares = figures["figure_1a"]
    edges = shares["edges"]
    _, axes = plt.subplots(figsize=(6, 3.5))
    for name, colour in (("correct", _CORRECT), ("wrong", _WRONG)):
        axes.stairs(shares[name], edges, fill=True, alpha=0.45, color=colour, label=f"{name} answers")
    axes.set(xlabel="value at the last token", ylabel="share of the class", title="Values by true label")
    axes.legend()


def _traces(figures: dict[str, Any]) -> None:
    _, axes = plt.subplots(figsize=(8, 3.5))
    for example in figures["figure_1b"]:
        label, colour = ("correct", _CORRECT) if example["correct"] else ("wrong", _WRONG)
        axes.plot(range(1, len(example["values"]) + 1), example["values"], color=colour, label=f"a {label} answer")
    axes.set(xlabel="generated tokens", ylabel="value", ylim=(0, 1), title=f"Value along two rollouts of {example['problem']}")
    axes.legend()


def _accuracy(figures: dict[str, Any]) -> None:
    _, both = plt.subplots(1, 2, figsize=(11, 4), sharey=True)
    for axes, (kind, title) in zip(
        both, (("code", "share of the code seen"), ("answer", "share of the answer seen")), strict=True
    ):
        points = figures["figure_2"][kind]
        _lines(axes, [p["share"] for p in points], [{s: f["balanced"] for s, f in p["scorers"].items()} for p in points])
        axes.axhline(0.5, color=_GREY, linestyle=":", label="chance")
        axes.set(xlabel=title)
    both[0].set(ylabel="accuracy, classes balanced")
    both[0].legend(fontsize=7)


def _by_tokens(figures: dict[str, Any]) -> None:
    rows = figures["by_tokens"]
    _, both = plt.subplots(1, 2, figsize=(11, 4))
    for axes, (key, label) in zip(
        both, (("within_problem_auroc", "within-problem AUROC"), ("brier_skill", "Brier skill")), strict=True
    ):
        _lines(axes, [int(row["seen"]) for row in rows], [{s: f[key] for s, f in row["scorers"].items()} for row in rows])
        axes.set(xlabel="generated tokens seen", ylabel=label)
        axes.axhline(0.5 if key == "within_problem_auroc" else 0, color=_GREY, linestyle=":")
    both[0].legend(fontsize=7)


def _lines(axes: Axes, places: list[Any], rows: list[dict[str, dict[str, float | None]]]) -> None:
    """One line a scorer, the value model's with its interval."""
    for scorer in rows[0]:
        values = [_number(row[scorer]["value"]) for row in rows]
        main = scorer == VALUE
        axes.plot(places, values, label=scorer, linewidth=2.2 if main else 1, marker="o" if main else None, markersize=3)
        if main:
            low, high = ([_number(row[scorer][bound]) for row in rows] for bound in ("low", "high"))
            axes.fill_between(places, low, high, alpha=0.2)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
