"""Judged rollouts as columns, with every scorer's score along each: what an evaluation computes its figures from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..engine.progress import stage
from ..engine.tree import Ended, Tree
from .examples import Example, States, join_examples, make_examples
from .heads import ValueHead
from .model import ValueModel
from .packing import DataError, PromptedTree
from .targets import outcomes

VALUE, STATEMENT = "value", "statement's own value"
LOGPROB, CERTAINTY, SHORTNESS, PARSES = "mean log-probability", "self-certainty", "length", "ended and parses"
ASKED = "P(True)"


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


@torch.no_grad()
def score_trees(model: ValueModel, trees: Sequence[PromptedTree], states: States) -> list[np.ndarray]:
    """The value of every node of each tree, [nodes]."""
    device = next(model.tail.norm.parameters()).device
    model.eval()
    scored = []
    with stage(f"Scoring {len(trees)} trees", total=float(len(trees))) as advance:
        for i, example in enumerate(make_examples(trees)):
            batch = join_examples([example], states, device)
            values = np.empty(len(example.pack.nodes))
            values[example.pack.nodes.numpy()] = model.values(batch.states, batch.pack, batch.mean_logprob).cpu().numpy()
            scored.append(values)
            advance(i + 1)
    return scored


def statement_states(examples: Sequence[Example], states: States) -> torch.Tensor:
    """The state at the last token of each example's prompt, scaled to unit variance, [examples, H]."""
    last = torch.stack([states[example.key][len(example.pack) - len(example.pack.rows) - 1].float() for example in examples])
    return last / last.square().mean(dim=1, keepdim=True).sqrt()


def rollout_table(
    model: ValueModel,
    trees: Sequence[PromptedTree],
    states: States,
    statement: ValueHead,
    read: ReadAnswer,
    ask: Ask | None = None,
) -> RolloutTable:
    """Score all trees and lay out their judged rollouts. Raises DataError where a tree has none."""
    values = score_trees(model, trees, states)
    with torch.no_grad():
        rooted = statement_states(make_examples(trees), states)
        logits = statement.logit(statement.emit(rooted), statement.emit(rooted), torch.zeros(len(trees)))
    names = sorted({one.problem for one in trees})
    number = {name: i for i, name in enumerate(names)}
    columns: dict[str, list[object]] = {
        name: [] for name in ("problem", "counts", "correct", "lengths", "ended", "parses", "code")
    }
    pieces: list[tuple[str, ...]] = []
    scorers = [VALUE, LOGPROB, CERTAINTY, SHORTNESS, PARSES, STATEMENT, *([ASKED] if ask else [])]
    traces: dict[str, list[np.ndarray]] = {scorer: [] for scorer in scorers}
    with stage(f"Reading the answers of {len(trees)} trees", total=float(len(trees))) as advance:
        for i, (one, value, own_value) in enumerate(zip(trees, values, torch.sigmoid(logits).tolist(), strict=True)):
            found = outcomes(one.tree)
            if not len(found.rows):
                raise DataError(f"the tree of {one.problem} has no judged rollouts")
            nodes = _node_scores(one.tree, value)
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
                traces[ASKED] += [_at_the_end(len(answer.pieces), score) for answer, score in zip(answers, said, strict=True)]
            advance(i + 1)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    return RolloutTable(names, **arrays, pieces=pieces, traces=traces)


def _at_the_end(length: int, score: float) -> np.ndarray:
    """The scores along an answer of one that says nothing before its last token."""
    scores = np.zeros(length)
    scores[-1] = score
    return scores


def _node_scores(tree: Tree, value: np.ndarray) -> dict[str, np.ndarray]:
    depth = np.maximum(tree.depth, 1)
    certainty = np.nan_to_num(tree.nodes.certainty.astype(np.float64))
    return {
        VALUE: value,
        LOGPROB: tree.logprob_sum / depth,
        CERTAINTY: tree.path_means(certainty),
        SHORTNESS: -depth.astype(np.float64),
    }
