"""What makes trees useless for training, found before any time is spent on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.errors import DataError
from .made_for import MadeFor
from .packing import PromptedTree
from .targets import outcomes

MIXED_NEEDED = 30
"""Problems with correct and wrong rollouts, for a training to learn what tells these apart."""


def check_trees(trees: Sequence[PromptedTree], *, vocabulary: int | None = None) -> MadeFor:
    """Check that a value model can be trained or evaluated on `trees`; returns the one generator that they are all from.

    Raises DataError for no trees, an empty tree, log-probabilities that are no numbers, token ids beyond `vocabulary`, trees of
    different models, precisions or templates, no judged rollouts, and verdicts that are all of one class.
    """
    if not trees:
        raise DataError("there are no trees")
    origin = MadeFor.of(trees[0].tree.metadata)
    classes: set[bool] = set()
    for one in trees:
        tree = one.tree
        if not len(tree):
            raise DataError(f"the tree of {one.problem} is empty")
        if not np.isfinite(tree.nodes.logprob).all():
            raise DataError(f"the tree of {one.problem} has log-probabilities that are no finite numbers")
        highest = max(int(tree.nodes.token_id.max()), *one.prompt_ids)
        if vocabulary is not None and highest >= vocabulary:
            raise DataError(f"the tree of {one.problem} has the token {highest}; the base model knows {vocabulary}")
        other = MadeFor.of(tree.metadata)
        if other != origin:
            raise DataError(
                f"the trees are of different generators: {trees[0].problem} is from {_described(origin)}, "
                f"{one.problem} from {_described(other)}"
            )
        classes |= set(outcomes(tree).correct.tolist())
    if not classes:
        raise DataError("none of the trees has judged rollouts")
    if len(classes) == 1:
        raise DataError(f"all judged rollouts are {'correct' if classes == {True} else 'wrong'}: there is nothing to tell apart")
    return origin


def mixed_problems(trees: Sequence[PromptedTree]) -> int:
    """How many problems have both correct and wrong rollouts."""
    classes: dict[str, set[bool]] = {}
    for one in trees:
        classes.setdefault(one.problem, set()).update(outcomes(one.tree).correct.tolist())
    return sum(len(found) == 2 for found in classes.values())


def _described(origin: MadeFor) -> str:
    return f"{origin.model} {origin.model_sha256[:12]} in {origin.precision} with template {origin.template!r}"
