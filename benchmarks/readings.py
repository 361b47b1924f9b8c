"""Stored lines as readings: what one arm gives on one problem, and what it costs there.

A search is read once for each way of ranking its complete answers: at random, by each scorer, by the statement's printed
examples, and by these and a scorer. Ties count as their expectation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..engine.errors import DataError
from ..valuemodel.metrics import pass_of_top
from .arms import BEST_OF_N
from .replay import POOL, RANKS
from .results import Results

RANDOM, EXAMPLES = "random", "examples"
FULL = "full"
COSTS = {"replay": ("tokens", "steps"), "judged": ("tokens", "passes", "seconds", "scoring_seconds", "peak_memory_mb")}
"""What a reading's cost is told in, by the kind of its run."""


class ArmKey(NamedTuple):
    """`guide`: the scorer that the policy asked while it decoded, "" where it asks none. `ranking`: what orders the answers."""

    policy: str
    n: int
    guide: str
    ranking: str

    @property
    def search(self) -> tuple[str, int, str]:
        return self.policy, self.n, self.guide


@dataclass(frozen=True)
class About:
    """What a problem counts under."""

    tests_kind: str
    difficulty: str
    format: str


@dataclass(frozen=True)
class Reading:
    """`figures`: pass@1, pass@3, oracle and the costs, NaN where they were not measured."""

    problem: str
    about: About
    arm: ArmKey
    figures: dict[str, float]


@dataclass(frozen=True)
class Independent:
    """So many independent samples of a problem, and how many of them are correct."""

    problem: str
    about: About
    samples: int
    correct: int


def readings_of(results: Results) -> list[Reading]:
    """All readings. Raises DataError for lines of another kind."""
    kind = results.run.get("kind")
    if kind not in COSTS:
        raise DataError(f"a report is of replays or of judged searches, not of {kind!r}")
    read = _replayed if kind == "replay" else _searched
    found: dict[tuple[str, ArmKey], Reading] = {}
    for line in results.lines:
        if line["policy"] != POOL and "skipped" not in line:
            with _explained(line):
                for reading in read(line):
                    found.setdefault((reading.problem, reading.arm), reading)
    return list(found.values())


def independent_samples(results: Results) -> list[Independent]:
    """Of each problem the pool, or its largest best-of-n."""
    best: dict[str, Independent] = {}
    for line in results.lines:
        with _explained(line):
            counts = _independent(line)
            if counts and counts[0] > (best[line["problem"]].samples if line["problem"] in best else 0):
                best[line["problem"]] = Independent(line["problem"], _about(line), *counts)
    return list(best.values())


@contextmanager
def _explained(line: dict[str, Any]) -> Iterator[None]:
    """Raise DataError for a line that lacks what its kind has, or has something else there."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"the results of {line['policy']} on {line['problem']} are not as a run writes them: {error!r}"
        ) from error


def _independent(line: dict[str, Any]) -> tuple[int, int] | None:
    if line["policy"] == POOL:
        return line["samples"], line["correct"]
    if line["policy"] == BEST_OF_N and "candidates" in line and line["blind"]:
        return line["n"], sum(one["multiplicity"] for one in line["candidates"] if one["verdict"] == "passed")
    return None


def _replayed(line: dict[str, Any]) -> Iterator[Reading]:
    guide = "" if line["blind"] else line["scorer"]
    cost = {name: line[name] for name in COSTS["replay"]}
    for ranking, figure in ((RANDOM, "random"), (line["scorer"], "pass")):
        found = {f"pass@{k}": line[f"{figure}@{k}"] for k in RANKS} | {"oracle": line["oracle"]}
        arm = ArmKey(line["policy"], line["n"], guide, ranking)
        yield Reading(line["problem"], _about(line), arm, found | cost)


def _searched(line: dict[str, Any]) -> Iterator[Reading]:
    guide = "" if line["blind"] else line["scorer"]
    complete = [one for one in line["candidates"] if one["ended"] == "eos"]
    correct = np.asarray([one["verdict"] == "passed" for one in complete], bool)
    counts = np.asarray([one["multiplicity"] for one in complete], np.int64)
    passing = [one["examples"] for one in complete]
    rankings: dict[str, tuple[np.ndarray, dict[str, float]]] = {RANDOM: (np.zeros(len(complete)), {})}
    for name in line["scorers"]:
        scores = np.asarray([np.nan if one["scores"][name] is None else one["scores"][name] for one in complete], float)
        rankings[name] = np.nan_to_num(scores, nan=-np.inf), line["ranking_costs"].get(name, {})
    if line["examples_seconds"] is not None:
        passed = np.asarray([one is not False for one in passing], float)
        spent = {"seconds": line["examples_seconds"], "scoring_seconds": line["examples_seconds"]}
        for name, (scores, cost) in list(rankings.items()):
            both = {key: cost.get(key, 0) + spent.get(key, 0) for key in cost.keys() | spent.keys()}
            rankings[EXAMPLES if name == RANDOM else f"{EXAMPLES} and {name}"] = _lexicographic(passed, scores), both
    searching = {key: np.nan if line["cost"][key] is None else line["cost"][key] for key in COSTS["judged"]}
    for name, (scores, extra) in rankings.items():
        found = {f"pass@{k}": pass_of_top(scores, correct, counts, k) for k in RANKS}
        cost = {key: figure + extra.get(key, 0) for key, figure in searching.items()}
        arm = ArmKey(line["policy"], line["n"], guide, name)
        yield Reading(line["problem"], _about(line), arm, found | {"oracle": float(correct.any())} | cost)


def _lexicographic(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Ranks [R] by `first`, and by `second` where that is equal; equal pairs get equal ranks."""
    pairs: Sequence[tuple[float, float]] = list(zip(first.tolist(), second.tolist(), strict=True))
    rank = {pair: float(i) for i, pair in enumerate(sorted(set(pairs)), start=1)}
    return np.asarray([rank[pair] for pair in pairs])


def _about(line: dict[str, Any]) -> About:
    return About(line["tests_kind"], line["difficulty"], line["format"])
