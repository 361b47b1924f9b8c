"""What `bench adaptive` replays, decoded: searches that end once a candidate is likely enough, in tokens and seconds.

    python -m guided_gen.benchmarks.studies.adaptive_online --model qwen2.5-coder-0.5b --limit 40 --unrun 10 --out online.jsonl

Each problem is solved with each set of settings as `guided-gen solve` would, with the examples that its statement prints; the
printed program is judged by the hidden tests. On some problems best of 16 is also searched without running any program, token for
token the same: the difference in seconds is what evidence costs. The searches of a problem take turns to go first. The same
command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import numpy as np

from ... import solving
from ...candidate_checks import CandidateChecks
from ...data_builder.build_settings import build_order
from ...data_builder.judge.judge import Judge
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...data_builder.problems.quality import skip_reason
from ...engine.models.files import model_identity, resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.search import SearchSettings
from ...generator import GuidedGenerator
from ...valuemodel.metrics import estimate, mean_of_defined, paired_difference, problem_weights
from ..adaptive import NEVER
from ..judging import printed_examples
from ..readings import FULL
from ..results import LineFile, key_of, lines_of, problem_data

BEST_OF_16 = "best of 16"
UNRUN = "best of 16, nothing run"
ARMS: dict[str, dict[str, Any]] = {
    "best of 8": {"n": 8, "enough": NEVER},
    BEST_OF_16: {"n": 16, "enough": NEVER},
    "4 at a time, budget 1,100": {"n": 4, "most": 16, "enough": 0.9, "budget": 1100},
    "solve": {"n": 16, "most": 32},
    "solve --n 8": {"n": 8, "most": 16},
}


def searched_problems(known: Sequence[Problem], limit: int, seed: int = 0) -> list[Problem]:
    """A random part of the problems whose tests can judge, the same for a seed."""
    return build_order([one for one in known if one.tests_kind == FULL and skip_reason(one) is None], seed)[:limit]


def line(generator: GuidedGenerator, judge: Judge, problem: Problem, settings: SearchSettings, run: bool) -> dict[str, Any]:
    """One search: whether its best program is correct, and what it cost. Without `run` no program is run before it is judged."""
    with ExitStack() as stack:
        if not run:
            stack.enter_context(patch.object(solving, "CandidateChecks", lambda _, accept: CandidateChecks(None, accept)))
        found = generator.solve(printed_examples(problem), settings)
    best = found.best
    correct = best.complete and judge.judge(problem, best.program).passed
    return {"correct": correct, "tokens": found.decoded_tokens, "seconds": round(found.seconds, 3)}


def add_search(
    written: LineFile,
    generator: GuidedGenerator,
    judge: Judge,
    problem: Problem,
    policy: str,
    settings: SearchSettings,
    run: bool = True,
) -> None:
    """Make a search that `written` does not have yet; the rest as in `line`."""
    key = {"problem": problem.id, "policy": policy, "n": settings.n, "scorer": "evidence"}
    if key_of(key) not in written.done:
        written.add(key | {"data": problem_data(problem)} | line(generator, judge, problem, settings, run))


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A row a set of settings among `lines`, over the problems that all have; and the cost of running programs."""
    by_arm: dict[str, dict[str, dict[str, Any]]] = {}
    for one in lines:
        by_arm.setdefault(one["policy"], {})[one["problem"]] = one
    searched = [arm for arm in ARMS if arm in by_arm]
    names = sorted(set.intersection(*(set(by_arm[arm]) for arm in searched)))
    weights = problem_weights(len(names))
    columns = {
        arm: {key: np.asarray([float(by_arm[arm][name][key]) for name in names]) for key in ("correct", "tokens", "seconds")}
        for arm in searched
    }
    whole = columns[BEST_OF_16]
    yield f"{len(names)} problems"
    yield "| search | pass@1 | less best of 16 | tokens | of best of 16 | s | of best of 16 |"
    yield "|-|-|-|-|-|-|-|"
    for arm, found in columns.items():
        cells = [str(estimate(mean_of_defined(found["correct"], weights)))]
        cells.append(str(paired_difference(found["correct"], whole["correct"], weights)[0]))
        for key, digits in (("tokens", 0), ("seconds", 1)):
            cells += [f"{found[key].mean():.{digits}f}", f"{found[key].sum() / whole[key].sum():.0%}"]
        yield f"| {arm} | {' | '.join(cells)} |"
    unrun = by_arm.get(UNRUN, {})
    if unrun:
        both = [(by_arm[BEST_OF_16][name], one) for name, one in unrun.items()]
        same = sum(first["tokens"] == second["tokens"] for first, second in both)
        ratios = [first["seconds"] / second["seconds"] for first, second in both]
        run, alone = (sum(pair[i]["seconds"] for pair in both) for i in (0, 1))
        yield (
            f"Running the programs: {run / alone:.3f} of the seconds without, {np.median(ratios):.3f} in the median of "
            f"{len(both)} problems, in {same} of which the tokens were as many"
        )


@click.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--precision", default="auto")
@click.option("--problems", default="apps", show_default=True)
@click.option("--split", default="validation", show_default=True)
@click.option("--limit", default=40, show_default=True, help="Problems, a random part, the same for a seed.")
@click.option("--unrun", default=10, show_default=True, help="Of them, those that are also searched without running programs.")
@click.option("--arm", "arms", type=click.Choice(list(ARMS)), multiple=True, help="Beside best of 16.  [default: all]")
@click.option("--max-new-tokens", default=400, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A line a problem and search.")
@click.option("--report-only", is_flag=True, help="Decode nothing; report what OUT holds.")
def main(out: Path, limit: int, unrun: int, arms: Sequence[str], **options: Any) -> None:
    """Print pass@1, tokens and seconds of each kind of search."""
    chosen = {arm: settings for arm, settings in ARMS.items() if not arms or arm in (*arms, BEST_OF_16)}
    if not options["report_only"]:
        known = load_problems(options["problems"], options["split"] or None)
        searched = searched_problems(known, limit, options["seed"])
        run = {
            "kind": "adaptive",
            "model_sha256": model_identity(resolve_model(options["model"])).sha256,
            "max_new_tokens": options["max_new_tokens"],
            "seed": options["seed"],
        }
        with ExitStack() as stack:
            generator = stack.enter_context(GuidedGenerator.from_pretrained(options["model"], precision=options["precision"]))
            judge = stack.enter_context(Judge("auto", workers=1, stop_at_first_failure=True))
            written = stack.enter_context(LineFile(out, run))
            for number, problem in enumerate(searched):
                searches = [*(chosen | ({UNRUN: ARMS[BEST_OF_16]} if number < unrun else {})).items()]
                first = number % len(searches)  # the first search of a problem reads its prompt, and finds a cooler CPU
                for name, arm in searches[first:] + searches[:first]:
                    settings = SearchSettings(max_new_tokens=options["max_new_tokens"], seed=options["seed"], **arm)
                    add_search(written, generator, judge, problem, name, settings, name != UNRUN)
    for text in report(lines_of(out)):
        click.echo(text)


if __name__ == "__main__":
    main()
