"""Replays over whole pools, a line at a time: what is stored is not computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..data_builder.build_settings import build_order
from ..data_builder.dataset import DatasetError, ProblemTexts, problem_format
from ..data_builder.problems.problem import Problem
from ..engine.progress import stage
from ..engine.scorers import Scorer
from ..engine.tree import Tree
from .arms import Arm
from .replay import Pool, ReplayError, ReplaySettings, pool_line, replay
from .results import LineFile, key_of, pool_data


def replay_pools(
    trees: Callable[[], Iterator[Tree]],
    texts: ProblemTexts,
    arms: Sequence[Arm],
    scorers: Mapping[str, Scorer],
    settings: ReplaySettings,
    written: LineFile,
    limit: int | None = None,
) -> int:
    """Replay every arm on every tree, or on `limit` of them, the same for a seed; returns the number of problems.

    `trees` gives all trees anew at each call. Raises ReplayError for trees that are no pools, or were judged at different levels,
    DatasetError for two trees of a problem.
    """
    chosen = _chosen(trees(), texts, settings.seed, limit)
    judge = written.run["judge"]
    with stage(f"Replaying {len(chosen)} problems", total=float(len(chosen))) as advance:
        seen = 0
        for tree in trees():
            if tree.metadata["problem"] not in chosen:
                continue
            if tree.metadata["isolation"] != judge:
                raise ReplayError(
                    f"the pool was judged at different levels of isolation: {tree.metadata['problem']} at "
                    f"{tree.metadata['isolation']}, others at {judge}"
                )
            _replay_pool(Pool.of(tree), texts.problem(tree), arms, scorers, settings, written)
            seen += 1
            advance(seen)
    return len(chosen)


def first_tree(trees: Iterator[Tree]) -> Tree:
    """Raises DatasetError where there is none."""
    for tree in trees:
        return tree
    raise DatasetError("there is no tree to replay")


def _chosen(trees: Iterator[Tree], texts: ProblemTexts, seed: int, limit: int | None) -> set[str]:
    problems = [texts.problem(tree) for tree in trees]
    if len({problem.id for problem in problems}) < len(problems):
        raise DatasetError("the pools have more than one tree of a problem")
    return {problem.id for problem in build_order(problems, seed)[:limit]}


def _replay_pool(
    pool: Pool,
    problem: Problem,
    arms: Sequence[Arm],
    scorers: Mapping[str, Scorer],
    settings: ReplaySettings,
    written: LineFile,
) -> None:
    about: dict[str, Any] = {
        "data": pool_data(pool.tree),
        "tests_kind": problem.tests_kind,
        "difficulty": problem.difficulty,
        "format": problem_format(problem),
    }
    whole = pool_line(pool)
    if key_of(whole) not in written.done:
        written.add(whole | about)
    for line in replay(pool, arms, scorers, settings, written.done):
        written.add(line | about)
