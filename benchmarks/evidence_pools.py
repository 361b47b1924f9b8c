"""Pools of judged independent rollouts with what running them told: draws of n candidates, as a search would have had them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..data_builder.dataset import PASSED
from ..data_builder.stored_executions import StoredExecutions
from ..engine.errors import DataError
from ..engine.scorers import mean_logprob
from ..engine.scorers import reader as mean_reading
from ..engine.tree import Ended, Tree
from ..valuemodel.evidence import Finished, columns
from ..valuemodel.evidence_fit import Labelled


@dataclass(frozen=True)
class EvidencePool:
    """One problem's R distinct rollouts from the prompt: `found` as they all stand together, writers [R, I], correct [R]."""

    problem: str
    found: Finished
    writers: np.ndarray
    correct: np.ndarray

    @classmethod
    def of(cls, tree: Tree, stored: StoredExecutions) -> EvidencePool:
        """Raises DataError where the executions are of other rollouts."""
        rows = stored.rollouts
        if len(rows) and rows.max() >= len(tree.rollouts):
            raise DataError(f"the executions of {stored.problem} are not of its tree")
        leaves = tree.rollouts.leaf[rows]
        found = Finished(
            counts=stored.counts,
            lengths=tree.depth[leaves],
            logprobs=mean_logprob(tree)[leaves],
            ended=tree.rollouts.ended[rows] == Ended.EOS,
            parses=stored.parses,
            passed=stored.passed,
            shown=stored.examples,
            classes=stored.classes,
            results=stored.results,
            values=tree.nodes.value[leaves].astype(np.float64),
            readings=mean_reading(tree)[leaves],
        )
        correct = np.asarray([tree.verdicts[row] == PASSED for row in rows.tolist()], bool)
        return cls(stored.problem, found, stored.writers, correct)

    def __len__(self) -> int:
        return int(self.found.counts.sum())

    def chosen(self, rows: np.ndarray, counts: np.ndarray) -> EvidencePool:
        """The pool of `counts` samples of `rows` alone: inputs that only others wrote are not known."""
        whole = self.found
        known = ~self.writers.any(axis=0) | self.writers[rows].any(axis=0)
        found = Finished(
            counts=counts,
            shown=whole.shown,
            classes=whole.classes[rows][:, known],
            results=whole.results[rows][:, known],
            **{
                name: getattr(whole, name)[rows]
                for name in ("lengths", "logprobs", "ended", "parses", "passed", "values", "readings")
            },
        )
        return EvidencePool(self.problem, found, self.writers[rows][:, known], self.correct[rows])

    def draws(self, n: int, resamples: int, seed: int) -> Iterator[EvidencePool]:
        """`resamples` draws of n samples without replacement; the whole pool once where it has no more."""
        samples = np.repeat(np.arange(len(self.found)), self.found.counts)
        if len(samples) <= n:
            yield self
            return
        rng = np.random.default_rng([seed, zlib.crc32(self.problem.encode())])
        for _ in range(resamples):
            rows, counts = np.unique(rng.permutation(samples)[:n], return_counts=True)
            yield self.chosen(rows, counts)

    def labelled(self, weight: float = 1.0) -> Labelled:
        return Labelled(columns(self.found), self.found.counts, self.correct, weight)


def evidence_pools(trees: Iterable[Tree], stored: Mapping[str, StoredExecutions]) -> list[EvidencePool]:
    """Of all trees. Raises DataError where one has no executions."""
    pools = []
    for tree in trees:
        problem = tree.metadata["problem"]
        if problem not in stored:
            raise DataError(f"there are no executions of {problem}; guided-gen dataset execute makes them")
        pools.append(EvidencePool.of(tree, stored[problem]))
    return pools
