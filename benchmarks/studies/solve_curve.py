"""pass@1 against seconds: which model `guided-gen solve` should load by default, and how many candidates it should grow.

    python -m guided_gen.benchmarks.studies.solve_curve \
        qwen2.5-coder-1.5b=benchmarks/results/adaptive-1.5b-validation/adaptive.json \
        qwen2.5-coder-0.5b=benchmarks/results/adaptive-validation/adaptive.json --limit 10 --out benchmarks/results/solve-curve

pass@1 of the best of n is that of `guided-gen bench adaptive`, over all stored answers to the validation problems. The seconds
are those of searches as `solve` makes them, on a random part of these problems and on this machine, without the loading of the
model, which is the same for all n. No search ends early. The same command goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...data_builder.judge.judge import Judge
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...engine.errors import DataError
from ...engine.files import replaced_atomically, write_atomically
from ...engine.models.files import model_identity, resolve_model
from ...engine.search import SearchSettings
from ...generator import GuidedGenerator
from ..adaptive import NEVER
from ..results import LineFile, lines_of
from .adaptive_online import add_search, searched_problems

CURVE = "curve.svg"


def replayed(report: Path) -> dict[int, dict[str, float]]:
    """pass@1 with its interval, by n, of the searches of `bench adaptive` that neither go on nor end early. Raises DataError."""
    try:
        arms = json.loads(report.read_text())["arms"]
        found = {arm["n"]: arm["pass@1"] for arm in arms if arm["enough"] is None and arm["n"] == arm["most"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{report} is no report of guided-gen bench adaptive") from None
    if not found:
        raise DataError(f"{report} has no best of n")
    return found


def measure(model: str, problems: Sequence[Problem], numbers: Sequence[int], max_new_tokens: int, out: Path) -> None:
    """Add what is missing to `out`, a line a problem and number of candidates."""
    identity = model_identity(resolve_model(model))
    run = {"kind": "solve curve", "model": model, "model_sha256": identity.sha256, "max_new_tokens": max_new_tokens}
    with ExitStack() as stack:
        generator = stack.enter_context(GuidedGenerator.from_pretrained(model))
        generator.loaded.language_model.hold_prefixes(0)  # each search reads its prompt
        judge = stack.enter_context(Judge("auto", workers=1, stop_at_first_failure=True))
        written = stack.enter_context(LineFile(out, run))
        for problem in problems:
            for n in numbers:
                settings = SearchSettings(n=n, max_new_tokens=max_new_tokens, enough=NEVER)
                add_search(written, generator, judge, problem, "best-of-n", settings)


def points(passed: dict[int, dict[str, float]], lines: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """A point a number of candidates: pass@1 with its interval, and the mean seconds and tokens of `lines`."""
    found = []
    for n, figure in sorted(passed.items()):
        own = [one for one in lines if one["n"] == n]
        means = {name: float(np.mean([one[name] for one in own])) for name in ("seconds", "tokens")}
        found.append({"n": n, "problems": len(own)} | figure | means)
    return found


def report(curves: dict[str, list[dict[str, float]]]) -> Iterator[str]:
    yield "| model | n | pass@1 | tokens | seconds |"
    yield "|-|-|-|-|-|"
    for model, curve in curves.items():
        for at in curve:
            passed = f"{at['value']:.1%} [{at['low']:.0%}, {at['high']:.0%}]"
            yield f"| `{model}` | {at['n']} | {passed} | {at['tokens']:.0f} | {at['seconds']:.1f} |"


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for model, curve in curves.items():
        axes.plot([at["seconds"] for at in curve], [at["value"] for at in curve], marker="o", label=model)
        for at in curve:
            axes.annotate(f"{at['n']}", (at["seconds"], at["value"]), xytext=(5, -11), textcoords="offset points", fontsize=8)
    axes.set(xlabel="seconds of a search, on average", ylabel="correct programs printed", xlim=(0, None), ylim=(0, None))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", title="candidates: at the points")
    with replaced_atomically(path) as partial:
        figure.savefig(partial, format="svg")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL=REPORT...")
@click.option("--problems", default="apps", show_default=True)
@click.option("--split", default="validation", show_default=True)
@click.option("--limit", default=20, show_default=True, help="Problems that are timed, a random part.")
@click.option("--max-new-tokens", default=400, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Where the lines and the curve go.")
@click.option("--report-only", is_flag=True, help="Decode nothing; draw what OUT holds.")
def main(models: tuple[str, ...], out: Path, report_only: bool, max_new_tokens: int, **options: Any) -> None:
    """Time searches of each MODEL and draw them against the pass@1 in its REPORT of `guided-gen bench adaptive`."""
    curves = {}
    timed = (
        [] if report_only else searched_problems(load_problems(options["problems"], options["split"] or None), options["limit"])
    )
    for told in models:
        model, equals, path = told.partition("=")
        if not equals:
            raise click.UsageError(f"a model and its report are written MODEL=REPORT, not {told!r}")
        passed, lines = replayed(Path(path)), out / f"{Path(model).name}.jsonl"
        if not report_only:
            measure(model, timed, sorted(passed), max_new_tokens, lines)
        curves[model] = points(passed, lines_of(lines))
    text = "\n".join(report(curves)) + "\n"
    write_atomically(out / "curve.md", text)
    draw(curves, out / CURVE)
    click.echo(text, nl=False)


if __name__ == "__main__":
    main()
