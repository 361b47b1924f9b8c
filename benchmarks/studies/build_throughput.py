"""What the judge and the disk cost a dataset build: tokens a second of the whole build against the engine's alone.

    python -m guided_gen.benchmarks.studies.build_throughput --limit 24

The same problems are built twice: with the judge and files, and with the verdicts of the first time at once and nothing written,
so that the same tokens are decoded in the same batches as far as timing allows.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import Future
from pathlib import Path

import click

from ...data_builder.build_settings import BuildSettings, build_order
from ...data_builder.builder import BuildProgress, run
from ...data_builder.judge.judge import Judge
from ...data_builder.judge.verdict import Isolation, Verdict
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...data_builder.tree_folder import TreeFolder
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.loaded_model import LoadedModel
from ...engine.models.loading import load_model


class RecordingJudge:
    """Asks a judge and remembers its answers by problem and program."""

    def __init__(self, judge: Judge) -> None:
        self.isolation: Isolation = judge.isolation
        self.verdicts: dict[tuple[str, str], Future[Verdict]] = {}
        self._judge = judge

    def submit(self, problem: Problem, program: str) -> Future[Verdict]:
        return self.verdicts.setdefault((problem.id, program), self._judge.submit(problem, program))


class Replay:
    """Gives recorded verdicts; a program that it does not know, which other rounding can bring about, fails."""

    def __init__(self, recorded: RecordingJudge) -> None:
        self.isolation: Isolation = recorded.isolation
        self._verdicts = recorded.verdicts

    def submit(self, problem: Problem, program: str) -> Future[Verdict]:
        known = self._verdicts.get((problem.id, program))
        if known is not None:
            return known
        failed: Future[Verdict] = Future()
        failed.set_result(Verdict(problem.id, "no_result", (), None, self.isolation, 0.0))
        return failed


def measure(
    loaded: LoadedModel, problems: list[Problem], settings: BuildSettings, batch: int
) -> tuple[BuildProgress, BuildProgress]:
    """Progress at the end of the whole build and at that of the replay."""
    seen: list[BuildProgress] = []
    pinned = {"problems": "benchmark", "split": None} | settings.record(loaded)
    with tempfile.TemporaryDirectory() as out, Judge(workers=1, stop_at_first_failure=True) as judge:
        recorded = RecordingJudge(judge)
        with TreeFolder(Path(out), pinned) as folder:
            for result in run(loaded, problems, settings, recorded, batch=batch, watch=seen.append):
                folder.add(result)
    whole = seen[-1]
    for _ in run(loaded, problems, settings, Replay(recorded), batch=batch, watch=seen.append):
        pass
    return whole, seen[-1]


@click.command()
@click.option("--limit", default=24, show_default=True)
@click.option("--batch", default=64, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
def main(limit: int, batch: int, precision: str, model: str) -> None:
    problems = [problem for problem in load_problems("apps", "train") if problem.difficulty == "introductory"]
    loaded = load_model(model, precision)
    whole, alone = measure(loaded, build_order(problems, 0)[:limit], BuildSettings(), batch)
    for name, progress in (("whole build", whole), ("engine alone", alone)):
        speed = progress.tokens / progress.seconds
        print(f"{name}: {progress.tokens} tokens in {progress.seconds:.0f} s, {speed:.1f} a second; {dict(progress.problems)}")
    print(f"ratio: {whole.tokens / whole.seconds * alone.seconds / alone.tokens:.2f}")


if __name__ == "__main__":
    main()
