"""Replay: policies that stop, prune or rerank are truncations of independent rollouts, so stored ones decide what they would do.

A replay *is* a search: the engine's loop, its policies, scorers and token count, over a language model that reads its tokens from
a pool of judged rollouts in place of drawing them. Each resample takes n samples of a problem's pool without replacement. Wall
time and memory are no part of a replay; its cost is tokens and sequential steps.

What it does not do: policies that fork need tokens that no pool holds, and are refused, as are those that start more candidates
afresh than the pool has samples left (adaptive.py goes on with fresh ones).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np

from ..data_builder.build_settings import build_order
from ..data_builder.dataset import ProblemTexts, problem_format
from ..data_builder.problems.problem import Problem
from ..engine.errors import DataError
from ..engine.language_model import Growth, LanguageModel, Prompt, Session
from ..engine.policies import Policy
from ..engine.progress import stage
from ..engine.randomness import problem_key
from ..engine.sampling import Sampling
from ..engine.scorers import Scorer
from ..engine.search import Search, SearchSettings, run
from ..engine.table import NODE_COLUMNS
from ..engine.tree import ROOT, Ended, Tree
from ..valuemodel.metrics import pass_of_top
from ..valuemodel.targets import PASSED
from .arms import Arm
from .results import LineFile, key_of, pool_data

POOL = "pool"
"""Stands for a policy in the line of a pool itself."""
RANKS = (1, 3)
READ_COLUMNS = ("value", "reader_logprob")
"""Those that a search does not draw but reads at its checks."""


@dataclass
class Pool:
    """One problem's judged independent rollouts. leaves [samples]: the leaf of each sample, one entry a draw; correct [nodes],
    whether the answer that ends at a node passes."""

    tree: Tree
    leaves: np.ndarray
    correct: np.ndarray
    paths: dict[int, list[int]]
    columns: list[dict[str, float]]

    @classmethod
    def of(cls, tree: Tree) -> Pool:
        """Raises DataError where the tree holds anything else than independent rollouts, all judged."""
        problem = tree.metadata.get("problem", "?")
        if (tree.rollouts.fork != ROOT).any() or not len(tree.rollouts):
            raise DataError(f"the tree of {problem} is no pool of independent rollouts; see guided-gen build --independent")
        if any(verdict is None for verdict in tree.verdicts):
            raise DataError(f"the tree of {problem} has rollouts that were not judged")
        if not np.isin(tree.rollouts.ended, (Ended.EOS, Ended.LENGTH)).all():
            raise DataError(f"the tree of {problem} has rollouts that were cut short")
        rows = np.argsort(tree.rollouts.seed, kind="stable")
        correct = np.zeros(len(tree), bool)
        for leaf, verdict in zip(tree.rollouts.leaf.tolist(), tree.verdicts, strict=True):
            correct[leaf] = verdict == PASSED
        names = [name for name in NODE_COLUMNS if name not in ("parent", *READ_COLUMNS)]
        table = [getattr(tree.nodes, name).tolist() for name in names]
        return cls(
            tree=tree,
            leaves=np.repeat(tree.rollouts.leaf[rows], tree.rollouts.multiplicity[rows]),
            correct=correct,
            paths={leaf: tree.path(leaf).tolist() for leaf in tree.rollouts.leaf.tolist()},
            columns=[dict(zip(names, row, strict=True)) for row in zip(*table, strict=True)],
        )

    @cached_property
    def read_columns(self) -> list[str]:
        """What a value model and a reader have told of this pool's nodes."""
        return [name for name in READ_COLUMNS if not np.isnan(getattr(self.tree.nodes, name)).all()]

    @property
    def problem(self) -> str:
        return str(self.tree.metadata["problem"])

    def __len__(self) -> int:
        return len(self.leaves)


@dataclass
class ReplaySession:
    """The tree that a replay uncovers. `source[node]` is the pool's node; sample i follows the path to `leaves[i]`."""

    pool: Pool
    leaves: list[int]
    tree: Tree
    source: list[int] = field(default_factory=list)


class ReplayModel(LanguageModel):
    """Its samples are a pool's. `steps` counts the tokens drawn one after the other: its forward passes."""

    vocabulary_size = 0
    max_length = 2**31
    scores = True

    def __init__(self) -> None:
        self.steps = 0

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> Session:
        raise DataError("a replay begins from a pool, not from a prompt")

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        longest, reached = 0, []
        for growth in growths:
            session, ends = cast(ReplaySession, growth.session), []
            for leaf, stream in zip(growth.leaves.tolist(), growth.streams.tolist(), strict=True):
                if stream >= len(session.leaves):
                    raise DataError("a policy that forks or starts candidates afresh cannot be replayed: it needs new tokens")
                depth, path = session.tree.depth_of(leaf), session.pool.paths[session.leaves[stream]]
                ahead = path[depth : depth + growth.tokens]
                for node in ahead:
                    leaf = session.tree.add_node(leaf, **cast(Any, session.pool.columns[node]))
                    if leaf == len(session.source):
                        session.source.append(node)
                longest = max(longest, len(ahead))
                ends.append(leaf)
            reached.append(np.asarray(ends, np.int64))
        self.steps += longest
        return reached

    def read(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        for opened, nodes in wanted:
            session = cast(ReplaySession, opened)
            for name in session.pool.read_columns:
                shown, stored = getattr(session.tree.nodes, name), getattr(session.pool.tree.nodes, name)
                for leaf in nodes[np.isnan(shown[nodes])].tolist():
                    path = session.tree.path(leaf)
                    shown[path] = stored[[session.source[node] for node in path.tolist()]]


@dataclass(frozen=True)
class ReplaySettings:
    """What all arms of a comparison have in common: checks, token budget, resamples of the pool, seed."""

    check_every: int = 16
    budget: int | None = None
    resamples: int = 100
    seed: int = 0


def replayed(pool: Pool, leaves: Sequence[int], policy: Policy, scorer: Scorer, settings: ReplaySettings) -> tuple[Search, int]:
    """The search that would have drawn the samples that end at `leaves`, done, and its number of sequential steps."""
    model = ReplayModel()
    search = opened(model, pool, leaves, len(leaves), policy, scorer, settings)
    run(model, [search])
    return search, model.steps


def opened(
    model: ReplayModel, pool: Pool, leaves: Sequence[int], n: int, policy: Policy, scorer: Scorer, settings: ReplaySettings
) -> Search:
    """The same at its beginning, with the first `n` of the samples; fresh candidates are the next ones."""
    tree, ended = pool.tree, pool.tree.rollouts.ended == Ended.EOS
    stops = frozenset(tree.nodes.token_id[tree.rollouts.leaf[ended]].tolist())
    session = ReplaySession(pool, list(leaves), Tree(tree.prompt_length, tree.prompt_hash))
    search_settings = SearchSettings(
        n=n,
        max_new_tokens=int(tree.metadata["max_new_tokens"]),
        policy=policy,
        scorer=scorer,
        check_every=settings.check_every,
        budget=settings.budget,
        seed=settings.seed,
        stop_ids=stops,
    )
    return Search(model, session, search_settings)


def outcome(pool: Pool, search: Search, scorer: Scorer) -> dict[str, float]:
    """pass@1 and pass@3 of the complete answers ranked by `scorer`, and in a random order; whether any is correct; tokens."""
    tree, source = search.tree, cast(ReplaySession, search.session).source
    rows = np.flatnonzero(tree.rollouts.ended == Ended.EOS)
    leaves, counts = tree.rollouts.leaf[rows], tree.rollouts.multiplicity[rows].astype(np.int64)
    correct = pool.correct[np.asarray(source, np.int64)[leaves]]
    scores = {"pass": scorer(tree)[leaves], "random": np.zeros(len(leaves))}
    found = {f"{name}@{k}": pass_of_top(own, correct, counts, k) for name, own in scores.items() for k in RANKS}
    return found | {"oracle": float(correct.any()), "tokens": float(search.decoded_tokens)}


def replay(
    pool: Pool,
    arms: Sequence[Arm],
    scorers: Mapping[str, Scorer],
    settings: ReplaySettings,
    done: Collection[tuple[str, ...]] = (),
) -> Iterator[dict[str, Any]]:
    """One line an arm and scorer, which guides and ranks: the means of `outcome` and of the steps over all resamples.

    All arms share the resamples: those with fewer candidates take the first of them. Lines whose key is in `done` are left out.
    Raises DataError for a pool with too few samples or without scores.
    """
    check_pool(pool, arms, scorers)
    rng = np.random.default_rng([settings.seed, problem_key(pool.tree.prompt_hash)])
    draws = [rng.permutation(len(pool)) for _ in range(settings.resamples)]
    for arm in arms:
        wanted = arm.guided_by(scorers)
        wanted = [name for name in wanted if key_of({"problem": pool.problem} | _about(arm, name)) not in done]
        # Where no scorer is asked while it decodes, one run serves all rankings.
        blind = arm.blind(settings.budget)
        for names in [wanted] if blind else [[name] for name in wanted]:
            outcomes: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            searched: dict[bytes, tuple[Search, int]] = {}  # a small pool gives the same samples again
            for drawn in draws if names else []:
                chosen = np.sort(drawn[: arm.n])
                if chosen.tobytes() not in searched:
                    leaves = pool.leaves[chosen].tolist()
                    searched[chosen.tobytes()] = replayed(pool, leaves, arm.policy, scorers[names[0]], settings)
                search, steps = searched[chosen.tobytes()]
                for name in names:
                    found = outcome(pool, search, scorers[name])
                    outcomes[name].append(found | {"steps": float(steps)})
            for name, found_all in outcomes.items():
                means = {key: float(np.mean([one[key] for one in found_all])) for key in found_all[0]}
                yield {"problem": pool.problem} | _about(arm, name) | {"blind": blind} | means


def check_pool(pool: Pool, arms: Sequence[Arm], scorers: Mapping[str, Scorer]) -> None:
    """Raise DataError where the pool has too few samples for an arm, or no scores of one kind."""
    most = max(arm.n for arm in arms)
    if len(pool) < most:
        raise DataError(f"the pool of {pool.problem} has {len(pool)} samples, fewer than the {most} of a search")
    for name, scorer in scorers.items():
        if np.isnan(scorer(pool.tree)).all():
            raise DataError(f"the pool of {pool.problem} has no scores of {name}; a value model gives values (--value)")


def pool_line(pool: Pool) -> dict[str, Any]:
    """What the pool itself holds: samples, those that are correct, those that are complete."""
    rollouts = pool.tree.rollouts
    complete = rollouts.multiplicity[rollouts.ended == Ended.EOS].sum()
    about = {"problem": pool.problem, "policy": POOL, "n": len(pool), "scorer": ""}
    return about | {"samples": len(pool), "correct": int(pool.correct[pool.leaves].sum()), "complete": int(complete)}


def _about(arm: Arm, scorer: str) -> dict[str, Any]:
    return {"policy": arm.name, "settings": arm.settings, "n": arm.n, "scorer": scorer}


# -- whole pools, a line at a time: what is stored is not computed again


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

    `trees` gives all trees anew at each call. Raises DataError for trees that are no pools, or were judged at different levels,
    DataError for two trees of a problem.
    """
    chosen = _chosen(trees(), texts, settings.seed, limit)
    judge = written.run["judge"]
    with stage(f"Replaying {len(chosen)} problems", total=float(len(chosen))) as advance:
        seen = 0
        for tree in trees():
            if tree.metadata["problem"] not in chosen:
                continue
            if tree.metadata["isolation"] != judge:
                raise DataError(
                    f"the pool was judged at different levels of isolation: {tree.metadata['problem']} at "
                    f"{tree.metadata['isolation']}, others at {judge}"
                )
            _replay_pool(Pool.of(tree), texts.problem(tree), arms, scorers, settings, written)
            seen += 1
            advance(seen)
    return len(chosen)


def first_tree(trees: Iterator[Tree]) -> Tree:
    """Raises DataError where there is none."""
    for tree in trees:
        return tree
    raise DataError("there is no tree to replay")


def _chosen(trees: Iterator[Tree], texts: ProblemTexts, seed: int, limit: int | None) -> set[str]:
    problems = [texts.problem(tree) for tree in trees]
    if len({problem.id for problem in problems}) < len(problems):
        raise DataError("the pools have more than one tree of a problem")
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
