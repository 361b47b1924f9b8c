"""What a larger model that reads the candidates costs: seconds of searches without one, and with one that reads now and then.

    python -m guided_gen.benchmarks.studies.reading_cost --limit 3 --out benchmarks/results/reading-cost/cost.jsonl

Best of n, so that reading changes no token: the same candidates are decoded in all searches of a problem, and read every so many
tokens or once they have ended. Each search reads its prompt. The same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...data_builder.judge.judge import Judge
from ...data_builder.problems.loaders import load_problems
from ...engine.models.files import model_identity, resolve_model
from ...engine.search import SearchSettings
from ...generator import GuidedGenerator
from ..adaptive import NEVER
from ..results import LineFile, lines_of
from .adaptive_online import add_search, searched_problems

ALONE, AT_THE_END = "no reader", "read at the end"
CHECKS = {"every 16 tokens": 16, "every 32 tokens": 32}


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Mean seconds by number of candidates and reading, and how much longer that is than without a reader."""
    problems = {one["problem"] for one in lines}
    yield f"{len(problems)} problems, mean seconds of a search (of those without a reader)"
    yield f"| n | {' | '.join((ALONE, AT_THE_END, *CHECKS))} |"
    yield f"|-|{'-|' * (2 + len(CHECKS))}"
    for n in sorted({one["n"] for one in lines}):
        means = {
            arm: np.mean([one["seconds"] for one in lines if one["n"] == n and one["policy"] == arm])
            for arm in (ALONE, AT_THE_END, *CHECKS)
        }
        cells = [f"{seconds:.1f} ({seconds / means[ALONE]:.2f})" for seconds in means.values()]
        yield f"| {n} | {' | '.join(cells)} |"


@click.command()
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True)
@click.option("--reader", default="qwen2.5-coder-1.5b", show_default=True)
@click.option("--problems", default="apps", show_default=True)
@click.option("--split", default="validation", show_default=True)
@click.option("--limit", default=5, show_default=True, help="Problems, a random part.")
@click.option("--n", "numbers", type=int, multiple=True, default=(8, 16, 36), show_default=True)
@click.option("--max-new-tokens", default=400, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A line a problem and search.")
def main(out: Path, model: str, reader: str, numbers: tuple[int, ...], max_new_tokens: int, **options: Any) -> None:
    """Print the seconds of searches with and without a reader."""
    known = load_problems(options["problems"], options["split"] or None)
    identities = {
        f"{name}_sha256": model_identity(resolve_model(one)).sha256 for name, one in (("model", model), ("reader", reader))
    }
    run = {"kind": "reading cost", "max_new_tokens": max_new_tokens} | identities
    with ExitStack() as stack:
        alone = stack.enter_context(GuidedGenerator.from_pretrained(model, value=None))
        reading = stack.enter_context(GuidedGenerator.from_pretrained(model, value=None, reader=reader))
        for one in (alone, reading):
            one.loaded.language_model.hold_prefixes(0)  # each search reads its prompt
        judge = stack.enter_context(Judge("auto", workers=1, stop_at_first_failure=True))
        written = stack.enter_context(LineFile(out, run))
        arms = {ALONE: (alone, 16), AT_THE_END: (reading, max_new_tokens)} | {name: (reading, at) for name, at in CHECKS.items()}
        for problem in searched_problems(known, options["limit"]):
            for n in numbers:
                for name, (generator, check_every) in arms.items():
                    settings = SearchSettings(n=n, max_new_tokens=max_new_tokens, check_every=check_every, enough=NEVER)
                    add_search(written, generator, judge, problem, name, settings)
    for text in report(lines_of(out)):
        click.echo(text)


if __name__ == "__main__":
    main()
