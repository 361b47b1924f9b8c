"""A report's figures in words and tables: as Markdown, and as the terminal's tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .report import MIXED_NEEDED

EXACT = (
    "Many APPS problems accept any valid answer while the tests know one: exact matching marks some correct answers wrong, so "
    "pass@k is a lower bound."
)
LEGEND = (
    "Intervals: 95%, bootstrap over problems. `pass@1`, `pass@3`: of the best-ranked complete answers; `oracle`: whether any is "
    "correct. Costs are means a problem. `vs` columns: pass@1 less that of best-of-n with as many candidates, paired by problem; "
    "`at least` is its one-sided 95% bound against best-of-n ranked the same way, `tokens saved` the share against that. `lead`: "
    "pass@1 less that of best-of-n's curve, ranked the same way, at the same cost; + marks arms whose whole interval leads on "
    "every cost."
)
WALL_TIME = (
    "Wall time: of each policy's searches, up to {together} of them in one batch and no other policy beside them; a step's time "
    "is shared among its searches by their live candidates. Forward passes: those that a search took part in. A ranking's own "
    "time (prompted judgements, printed examples) is added to its arm. Peak memory is the process's, weights included."
)
VLLM = "Decoded by vLLM: forward passes are its engine's steps, and a dash stands for what its processes do not tell."
STEPS = "Replayed from stored samples: costs are tokens and sequential steps (forward passes of a batch); nothing is timed."
REFUSED = "Arms with printed examples are refused here: the grading tests are those examples."
WORDS = 2
_ORDER = ("policy", "ranked by", "n", "pass@1", "tokens", "vs same ranking", "seconds", "steps", "guided by", "oracle")
SHORT = ("policy", "n", "guided by", "ranked by", "pass@1", "oracle", "tokens", "vs same ranking", "tokens saved")
"""The columns of a part of the problems, in Markdown; the page and the JSON file have all."""
_COSTS = {
    "tokens": "tokens",
    "steps": "steps",
    "passes": "passes",
    "seconds": "seconds",
    "scorer_share": "scorer's share",
    "peak_memory_mb": "peak MB",
}
_KINDS = {
    "full": "Full tests",
    "full-reconstructed": "Reconstructed tests",
    "example": "Tests that the statement prints",
}


def title(table: dict[str, Any]) -> str:
    of = table["of"]
    words = [_KINDS.get(of["tests_kind"], of["tests_kind"]), *(of[name] for name in ("difficulty", "format") if of.get(name))]
    return f"{', '.join(words)}: {table['problems']} problems"


def notes(table: dict[str, Any]) -> Iterator[str]:
    """What a reader has to know before the figures of a table."""
    power, ceiling = table["power"], table["power"]["ceiling"]
    if ceiling is not None:
        yield f"pass@{ceiling['n']} of best-of-n is {estimate_text(ceiling)}; {power['solved']} problems were solved by any arm."
    if not power["enough"]:
        yield (
            f"No power: arms can differ on {power['mixed']} of these problems only, and with fewer than {MIXED_NEEDED} not even "
            "winning all of them would be significant. Read no order of arms from this table."
        )
    if table["of"]["tests_kind"] != "full":
        yield REFUSED


def estimate_text(cell: dict[str, Any] | None, signed: bool = False) -> str:
    """A share as a percentage with its interval."""
    if cell is None or cell["value"] is None:
        return ""
    form = "+.1f" if signed else ".1f"
    text = f"{100 * cell['value']:{form}}%"
    return text if cell["low"] is None else f"{text} [{100 * cell['low']:{form}}, {100 * cell['high']:{form}}]"


def heads(figures: dict[str, Any]) -> list[str]:
    costs = [_COSTS[name] for name in shown_costs(figures)]
    return [
        *("policy", "n", "guided by", "ranked by", "problems", "pass@1", "pass@3", "oracle"),
        *costs,
        *("vs random", "vs logprob", "vs same ranking", "at least", "tokens saved"),
        *(f"lead by {axis}" for axis in figures["axes"]),
    ]


def shown_costs(figures: dict[str, Any]) -> list[str]:
    return [name for name in _COSTS if name in figures["costs"] or (name == "scorer_share" and "seconds" in figures["costs"])]


def cells(figures: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """One row of a table, as `heads` names its columns."""
    against = row["against"]
    same = against.get("same ranking")
    return [
        row["policy"] + (" +" if row["leads"] else ""),
        str(row["n"]),
        row["guide"] or "-",
        row["ranking"],
        str(row["problems"]),
        *(estimate_text(row[name]) for name in ("pass@1", "pass@3", "oracle")),
        *(_cost_text(name, row["costs"].get(name)) for name in shown_costs(figures)),
        *(estimate_text(against[label]["pass@1"], True) if label in against else "" for label in ("random", "logprob")),
        estimate_text(same["pass@1"], True) if same else "",
        f"{100 * same['pass@1']['least']:+.1f}%" if same and same["pass@1"]["least"] is not None else "",
        estimate_text(same["tokens_saved"]) if same else "",
        *(estimate_text(row["lead"][axis], True) for axis in figures["axes"]),
    ]


def _cost_text(name: str, cost: float | None) -> str:
    if cost is None:  # not measured
        return "-"
    return f"{cost:.1%}" if name == "scorer_share" else f"{cost:.1f}" if name == "seconds" else f"{cost:,.0f}"


def run_words(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What was run, hashes included."""
    return [(name, "-" if value is None else str(value)) for name, value in sorted(run.items())]


def remarks(figures: dict[str, Any]) -> list[str]:
    run = figures["run"]
    timed = STEPS if run["kind"] == "replay" else WALL_TIME.format(together=run["together"])
    skipped = [f"{count} problems were skipped: {reason}." for reason, count in figures["skipped"].items()]
    return [LEGEND, timed, *([VLLM] if run.get("vllm") is not None else []), EXACT, *skipped]


def markdown(figures: dict[str, Any], plots: Sequence[str]) -> str:
    """The whole report; `plots` are file names beside it."""
    parts = ["# Benchmark report", *remarks(figures)]
    parts += [f"![{name}]({name})" for name in plots]
    for table in figures["tables"]:
        parts += [f"## {title(table)}", *notes(table)]
        names = heads(figures)
        kept = [i for i, name in enumerate(names) if len(table["of"]) == 1 or name in SHORT]
        rows = [cells(figures, row) for row in table["rows"]]
        parts.append(_grid([names[i] for i in kept], [[row[i] for i in kept] for row in rows]))
        if table["independent"] is not None:
            found = table["independent"]["pass@k"]
            parts.append(f"Independent samples, unbiased, {table['independent']['samples']} a problem:")
            parts.append(_grid([f"pass@{one['k']}" for one in found], [[estimate_text(one) for one in found]]))
    parts += ["## What was run", _grid(["", ""], [[name, f"`{value}`"] for name, value in run_words(figures["run"])])]
    return "\n\n".join(parts) + "\n"


def _grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def terminal_tables(figures: dict[str, Any]) -> Iterator[tuple[str, list[str], list[list[str]], list[str]]]:
    """(title, columns, rows, notes) of each kind of tests; columns in the order of their weight, the first `WORDS` in words."""
    names = heads(figures)
    order = sorted(range(len(names)), key=lambda i: _ORDER.index(names[i]) if names[i] in _ORDER else len(_ORDER) + i)
    for table in figures["tables"]:
        if len(table["of"]) == 1:
            rows = [cells(figures, row) for row in table["rows"]]
            yield title(table), [names[i] for i in order], [[row[i] for i in order] for row in rows], list(notes(table))
