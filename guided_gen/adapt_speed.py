"""How fast this machine is with this model, told by the first problems of the plan, whose answers are kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .adapt_plan import Speed
from .data_builder.build_settings import BuildSettings
from .data_builder.builder import BuildProgress, run
from .data_builder.dataset import ProblemTexts
from .data_builder.judge.judge import Judge
from .data_builder.problems.problem import Problem
from .data_builder.stored_executions import store_executions
from .data_builder.tree_folder import TreeFolder
from .engine.errors import DataError
from .engine.models.loaded_model import LoadedModel
from .engine.progress import stage
from .value_data import load_prompted_trees
from .valuemodel.examples import make_examples
from .valuemodel.fitting import base_states
from .valuemodel.made_for import MadeFor

LEAST = 8  # problems
FIT_SECONDS = 20.0
"""What each of the steps that fit or measure something takes beside reading trees, about, most of it imports and resampling."""


class Meter:
    """Watches a build: how fast it is while its batch is full, and how long it takes to fill it and to run empty."""

    def __init__(self, seconds: float, batch: int) -> None:
        """Ask for no more problems after `seconds`, and at least `LEAST` of them. `batch`: rollouts that grow at once."""
        self._until, self._batch = seconds, batch
        self._last: BuildProgress | None = None
        self._full_tokens = self._full_seconds = 0.0

    def add(self, progress: BuildProgress) -> None:
        last, self._last = self._last, progress
        if last is not None and min(last.live, progress.live) >= self._batch:
            self._full_tokens += progress.tokens - last.tokens
            self._full_seconds += progress.seconds - last.seconds

    def begun(self, problems: Sequence[Problem]) -> Iterator[Problem]:
        """`problems`, until it is enough."""
        for number, problem in enumerate(problems):
            if number >= LEAST and self._last is not None and self._last.seconds > self._until:
                return
            yield problem

    def problem_and_extra(self) -> tuple[float, float]:
        """(seconds of a problem while the batch is full, seconds that the whole took beyond that). Raises DataError."""
        progress = self._last
        if progress is None or not progress.done:
            raise DataError("no problem was built, so nothing is known of how long it takes")
        if not self._full_seconds:  # too few to fill it
            return progress.seconds / progress.done, 0.0
        whole = progress.tokens * self._full_seconds / self._full_tokens
        return whole / progress.done, max(progress.seconds - whole, 0.0)


def measured_speed(
    loaded: LoadedModel,
    load_seconds: float,
    problems: Sequence[Problem],
    settings: BuildSettings,
    record: dict[str, Any],
    folder: Path,
    options: dict[str, Any],
    seconds: float,
) -> tuple[Speed, list[str]]:
    """(the speed, ids of all problems in `folder`): build some of `problems` there for about `seconds`, run their programs and
    read their trees. `record` and `options` are those of `guided-gen build`.
    """
    meter = Meter(seconds, options["batch"])
    with (
        TreeFolder(folder, record) as trees,
        Judge(options["isolation"], options["judge_workers"], stop_at_first_failure=True) as judge,
    ):
        with stage(f"Measuring for {seconds:.0f} s on the first problems", total=seconds) as advance:

            def watch(progress: BuildProgress) -> None:
                meter.add(progress)
                advance(min(progress.seconds, seconds))

            begun = meter.begun(trees.missing(problems))
            for result in run(loaded, begun, settings, judge, batch=options["batch"], watch=watch):
                trees.add(result)
        built = [problem.id for problem in problems if problem.id in trees.present]
    loaded.language_model.end()
    build, extra = meter.problem_and_extra()
    start = time.perf_counter()
    new = max(store_executions(folder, ProblemTexts(record, problems), loaded.tokenizer), 1)
    run_seconds = (time.perf_counter() - start) / new
    read = (read_trees(folder, loaded, problems) - load_seconds) / new
    return Speed(load_seconds, extra, build, run_seconds, max(read, 1e-3), FIT_SECONDS), built


def read_trees(folder: Path, loaded: LoadedModel, problems: Sequence[Problem]) -> float:
    """Seconds that computing and keeping the states of all trees in `folder` takes, the loading of the base included."""
    start = time.perf_counter()
    prompted = load_prompted_trees([folder], loaded.tokenizer, problems=problems)
    made_for = MadeFor.of(prompted[0].tree.metadata)
    base_states(make_examples(prompted), loaded.path, made_for, [probe_layer(loaded.path)])
    return time.perf_counter() - start


def probe_layer(path: Path) -> int:
    """The layer whose input a probe reads: five sixths of the way up, where the probes of docs/valuemodel.md read best."""
    from .engine.models.float_models import model_config
    from .valuemodel.base_layers import layer_count

    return round(layer_count(model_config(path)) * 5 / 6)
