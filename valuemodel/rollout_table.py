"""Judged rollouts as columns, with every scorer's score along each: what an evaluation computes its figures from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..engine.errors import DataError
from ..engine.progress import stage
from ..engine.scorers import OF_READERS, P_TRUE, PARSES, SCORERS, STATEMENT
from ..engine.tree import Ended
from .fitting import ScoredTrees, statement_states
from .heads import ValueHead
from .packing import PromptedTree
from .targets import outcomes


@dataclass(frozen=True)
class Answer:
    """What the caller knows of a rollout's text. `pieces`: the text token by token. `code`: the first token of the program in
    it and one past its last, None where there is none. `parses`: whether that program is valid Python."""

    pieces: tuple[str, ...]
    code: tuple[int, int] | None
    parses: bool


ReadAnswer = Callable[[PromptedTree, int], Answer]
"""From a tree and a leaf to the answer that ends there."""

Ask = Callable[[PromptedTree, Sequence[Answer]], list[float]]
"""What a model says of finished answers to one problem when it is asked whether they are correct, in [0, 1]."""


@dataclass(frozen=True)
class RolloutTable:
    """R judged rollouts of P problems.

    names [P]; problem [R], the problem's number; counts [R], multiplicities; correct [R], bool; lengths [R], tokens; ended [R],
    whether with an end token; parses [R]; code [R, 2], first token of the code and one past its last (the whole answer where
    there is none); pieces: each answer's text by token; traces: by scorer, for each rollout its score after every token
    [length].
    """

    names: list[str]
    problem: np.ndarray
    counts: np.ndarray
    correct: np.ndarray
    lengths: np.ndarray
    ended: np.ndarray
    parses: np.ndarray
    code: np.ndarray
    pieces: list[tuple[str, ...]]
    traces: dict[str, list[np.ndarray]]

    def __len__(self) -> int:
        return len(self.problem)

    def scores(self, scorer: str, tokens: np.ndarray) -> np.ndarray:
        """The score of each rollout after `tokens` [R] of it (its last where it has fewer), [R]."""
        seen = np.clip(tokens, 1, self.lengths)
        return np.asarray([trace[i - 1] for trace, i in zip(self.traces[scorer], seen.tolist(), strict=True)], np.float64)

    @property
    def scorers(self) -> list[str]:
        return list(self.traces)


def rollout_table(scored: ScoredTrees, statement: ValueHead, read: ReadAnswer, ask: Ask | None = None) -> RolloutTable:
    """Lay out the judged rollouts of trees with values. Raises DataError where a tree has none."""
    trees = scored.trees
    with torch.no_grad():
        rooted = statement_states(scored.examples, scored.states)
        logits = statement.logit(statement.emit(rooted), statement.emit(rooted), torch.zeros(len(trees)))
    names = sorted({one.problem for one in trees})
    number = {name: i for i, name in enumerate(names)}
    columns: dict[str, list[object]] = {
        name: [] for name in ("problem", "counts", "correct", "lengths", "ended", "parses", "code")
    }
    pieces: list[tuple[str, ...]] = []
    read_too = all((~np.isnan(one.tree.nodes.reader_logprob)).any() for one in trees)
    of_trees = {name: scorer for name, scorer in SCORERS.items() if read_too or name not in OF_READERS}
    scorers = [*of_trees, PARSES, STATEMENT, *([P_TRUE] if ask else [])]
    traces: dict[str, list[np.ndarray]] = {scorer: [] for scorer in scorers}
    with stage(f"Reading the answers of {len(trees)} trees", total=float(len(trees))) as advance:
        for i, (one, own_value) in enumerate(zip(trees, torch.sigmoid(logits).tolist(), strict=True)):
            found = outcomes(one.tree)
            if not len(found.rows):
                raise DataError(f"the tree of {one.problem} has no judged rollouts")
            nodes = {name: np.nan_to_num(scorer(one.tree)) for name, scorer in of_trees.items()}
            answers = [read(one, leaf) for leaf in found.leaves.tolist()]
            for row, leaf, count, correct, answer in zip(
                *(c.tolist() for c in (found.rows, found.leaves, found.counts, found.correct)), answers, strict=True
            ):
                path = one.tree.path(leaf)
                ended = bool(one.tree.rollouts.ended[row] == Ended.EOS)
                entries = (number[one.problem], count, correct, len(path), ended, answer.parses, answer.code or (0, len(path)))
                for column, entry in zip(columns.values(), entries, strict=True):
                    column.append(entry)
                pieces.append(answer.pieces)
                for scorer, scores in nodes.items():
                    traces[scorer].append(scores[path])
                traces[PARSES].append(_at_the_end(len(path), ended and answer.parses))
                traces[STATEMENT].append(np.full(len(path), own_value))
            if ask is not None:
                said = ask(one, answers)
                traces[P_TRUE] += [_at_the_end(len(answer.pieces), score) for answer, score in zip(answers, said, strict=True)]
            advance(i + 1)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    return RolloutTable(names, **arrays, pieces=pieces, traces=traces)


def _at_the_end(length: int, score: float) -> np.ndarray:
    """The scores along an answer of one that says nothing before its last token."""
    scores = np.zeros(length)
    scores[-1] = score
    return scores
