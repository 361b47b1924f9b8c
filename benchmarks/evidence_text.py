"""The figures of `evidence.py` as Markdown."""

from __future__ import annotations

from typing import Any

_COLUMNS = {
    "gap@1": "of the gap at pass@1",
    "gap@3": "at pass@3",
    "auroc": "AUROC within problems",
    "ece": "ECE",
    "brier_skill": "Brier skill",
    "change@1": "pass@1 against all",
}
_SHARES = ("gap@1", "gap@3", "change@1")


def evidence_markdown(figures: dict[str, Any]) -> str:
    """One table, a row an arm, with 95% intervals over problems."""
    n, bounds = figures["n"], figures["bounds"]
    lines = [
        f"Best of {n}: {figures['problems']} problems, {figures['mixed_problems']} of them with correct and wrong answers; "
        f"{figures['with_examples']} print examples that were read, {figures['with_inputs']} have inputs to run on.",
        "",
        f"At random pass@1 is {_cell(bounds['random@1'], True)} and pass@3 {_cell(bounds['random@3'], True)}; the oracle has "
        f"{_cell(bounds['oracle'], True)}.",
        "",
        "| evidence | " + " | ".join(_COLUMNS.values()) + " |",
        "|-|" + "-|" * len(_COLUMNS),
    ]
    for name, arm in figures["arms"].items():
        cells = (_cell(arm[column], column in _SHARES, column == "change@1") for column in _COLUMNS)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(figure: dict[str, float | None], percent: bool, signed: bool = False) -> str:
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return "-"
    if percent:
        sign = "+" if signed else ""
        return f"{100 * value:{sign}.1f}% [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{value:.3f} [{low:.2f}, {high:.2f}]"
