"""How one problem's tree grows: tries until one is correct, then branches from its least likely tokens, all judged."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import Any, Protocol

from ..engine.language_model import Prompt, Session
from ..engine.models.loaded_model import LoadedModel
from ..engine.search import Search, SearchSettings
from ..engine.tree import ROOT, Tree
from .build_settings import BuildSettings, statement_hash
from .forking import branch_points
from .judge.verdict import Isolation, Verdict
from .problems.extraction import extract_program
from .problems.problem import Problem
from .problems.prompts import prompt_ids

# What a growing problem waits for: a search that others advance together with theirs, or verdicts.
Awaited = Search | list[Future[Verdict]]


class ProgramJudge(Protocol):
    """What the builder needs of a `Judge`."""

    @property
    def isolation(self) -> Isolation: ...

    def submit(self, problem: Problem, program: str) -> Future[Verdict]: ...


class ProblemGrowth:
    """One problem in progress. `steps` is the whole procedure; it hands out what it waits for and ends with the tree.

    The tree's metadata says, beside the settings: problem, statement_hash, status (kept, excluded, independent), tests,
    tests_kind, isolation; tokens: what was decoded, by stage. Where there was a trunk to look for, tries: the multiplicity, as a
    try, of each of the first rollouts (a branch from the root that is equal to one adds to its row). Where one was found, trunk:
    its row, and fork_nodes: the nodes whose tokens were sampled anew.
    """

    def __init__(self, loaded: LoadedModel, problem: Problem, settings: BuildSettings, judge: ProgramJudge) -> None:
        self.problem = problem
        self._loaded, self._settings, self._judge = loaded, settings, judge
        self._verdicts: dict[int, Future[Verdict]] = {}  # by leaf

    def steps(self) -> Generator[Awaited, None, Tree]:
        """Raises ContextError before anything is decoded, JudgeError where a program cannot be judged."""
        settings, model = self._settings, self._loaded.language_model
        most = min(settings.max_prompt_tokens, model.max_length - settings.max_new_tokens)
        prompt = prompt_ids(self._loaded.tokenizer, self.problem, settings.template, max_tokens=most)
        session = model.open(
            Prompt(prompt, room=settings.max_new_tokens), settings.sampling, settings.seed, self._loaded.stop_ids
        )
        tree = session.tree
        try:
            if settings.independent:
                found = yield from self._grow(session, [ROOT] * settings.independent, first_stream=0)
                grown: dict[str, Any] = {"status": "independent", "tokens": {"tries": found}}
            else:
                grown = yield from self._grow_trunk_and_branches(session)
        finally:
            model.close(session)
        yield [self._verdict(leaf) for leaf in tree.rollouts.leaf.tolist()]
        tree.verdicts = [self._verdict(leaf).result().status for leaf in tree.rollouts.leaf.tolist()]
        tree.metadata = {
            "problem": self.problem.id,
            "statement_hash": statement_hash(self.problem),
            "tests": len(self.problem.tests),
            "tests_kind": self.problem.tests_kind,
            "isolation": self._judge.isolation,
            **settings.record(self._loaded),
            **grown,
        }
        return tree

    def judge_finished(self, search: Search) -> None:
        """Hand complete answers to the judge while others still grow."""
        for leaf in search.finished_leaves():
            self._verdict(leaf, search.tree)

    def _grow_trunk_and_branches(self, session: Session) -> Generator[Awaited, None, dict[str, Any]]:
        settings, tree = self._settings, session.tree
        decoded = 0
        trunk = None
        for first in range(0, settings.trunk_tries, settings.tries_at_once):
            count = min(settings.tries_at_once, settings.trunk_tries - first)
            decoded += yield from self._grow(session, [ROOT] * count, first_stream=first)
            yield [self._verdict(leaf) for leaf in tree.rollouts.leaf.tolist()]
            trunk = self._first_correct(tree)
            if trunk is not None:
                break
        grown = {"tries": tree.rollouts.multiplicity.tolist()}
        if trunk is None:
            return grown | {"status": "excluded", "tokens": {"tries": decoded}}
        leaf = int(tree.rollouts.leaf[trunk])
        self._loaded.language_model.keep(session, tree.rollouts.leaf[[trunk]])
        forks = branch_points(tree, leaf, settings.forks, settings.strategy, settings.min_distance, settings.seed)
        starts = [int(tree.nodes.parent[node]) for node in forks for _ in range(settings.branches)]
        branches = yield from self._grow(session, starts, first_stream=settings.trunk_tries)
        tokens = {"tries": decoded - tree.depth_of(leaf), "trunk": tree.depth_of(leaf), "branches": branches}
        return grown | {"status": "kept", "trunk": trunk, "fork_nodes": forks, "tokens": tokens}

    def _grow(self, session: Session, starts: list[int], first_stream: int) -> Generator[Awaited, None, int]:
        """Sample one rollout from each of `starts`. Returns the number of tokens decoded."""
        settings = self._settings
        search = Search(
            self._loaded.language_model,
            session,
            SearchSettings(
                max_new_tokens=settings.max_new_tokens,
                sampling=settings.sampling,
                check_every=settings.max_new_tokens + 1,  # never: a check would drop the caches that branches begin from
                seed=settings.seed,
                stop_ids=self._loaded.stop_ids,
            ),
            starts=starts,
            first_stream=first_stream,
        )
        yield search
        for row in search.rollouts:
            self._verdict(int(search.tree.rollouts.leaf[row]), search.tree)
        return decoded_tokens(search.tree, search.rollouts)

    def _verdict(self, leaf: int, tree: Tree | None = None) -> Future[Verdict]:
        """The verdict on the answer that ends at `leaf`; with `tree` it is asked for where it was not."""
        if leaf not in self._verdicts and tree is not None:
            text = self._loaded.tokenizer.decode(tree.tokens(leaf), skip_special_tokens=True)
            self._verdicts[leaf] = self._judge.submit(self.problem, extract_program(text))
        return self._verdicts[leaf]

    def _first_correct(self, tree: Tree) -> int | None:
        leaves, numbers = tree.rollouts.leaf.tolist(), tree.rollouts.seed.tolist()
        correct = [row for row, leaf in enumerate(leaves) if self._verdict(leaf).result().passed]
        return min(correct, key=lambda row: numbers[row], default=None)


def decoded_tokens(tree: Tree, rows: Iterable[int]) -> int:
    """Tokens that were drawn to grow these rollouts in one search: those that begin at one fork share what they have in common.

    More than the nodes that it added: a branch that draws the trunk's own tokens again decodes them again.
    """
    drawn: dict[int, set[int]] = {}
    for row in rows:
        fork = int(tree.rollouts.fork[row])
        path = tree.path(int(tree.rollouts.leaf[row]))
        drawn.setdefault(fork, set()).update(path[tree.depth_of(fork) :].tolist())
    return sum(map(len, drawn.values()))
