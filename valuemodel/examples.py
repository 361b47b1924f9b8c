"""Trees made ready for a loss: checked, packed, with labels and weights in the order of the pack, and joined into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ..engine.errors import DataError
from .made_for import MadeFor
from .packing import Pack, PromptedTree, join_packs, pack_tree
from .state_cache import pack_key
from .targets import Kind, outcomes, targets


class States(Protocol):
    """The states below the tail, by a pack's key: [T, H]."""

    def __getitem__(self, key: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class Example:
    """One tree. mean_logprob, labels, weights [N], float32, one for each generated token of the pack."""

    problem: str
    key: str
    pack: Pack
    mean_logprob: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """Several examples, joined. states [T, H]; the others as in Example."""

    states: torch.Tensor
    pack: Pack
    mean_logprob: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor


def make_examples(
    trees: Sequence[PromptedTree], kind: Kind = "binary", balanced: bool = False, *, independent: bool = False
) -> list[Example]:
    """Examples of all trees; the weights of a problem's trees sum to 1 together. With `independent`, from the rollouts that were
    sampled from the prompt alone; trees without one are left out. Raises DataError where none is left."""
    kept = [one for one in trees if len(outcomes(one.tree, independent).rows)]
    if not kept:
        raise DataError(f"no tree has a judged {'independent ' if independent else ''}rollout")
    trees_of: dict[str, int] = {}
    for one in kept:
        trees_of[one.problem] = trees_of.get(one.problem, 0) + 1
    examples = []
    for one in kept:
        pack = pack_tree(one.tree, one.prompt_ids)
        made = targets(one.tree, kind, balanced, independent)
        nodes = pack.nodes.numpy()
        mean_logprob = one.tree.logprob_sum / one.tree.depth
        arrays = (mean_logprob[nodes], made.labels[nodes], made.weights[nodes] / trees_of[one.problem])
        examples.append(Example(one.problem, pack_key(pack), pack, *(torch.from_numpy(array).float() for array in arrays)))
    return examples


def join_examples(examples: Sequence[Example], states: States, device: torch.device | str = "cpu") -> Batch:
    """One batch on `device`."""
    return Batch(
        torch.cat([states[example.key] for example in examples]).to(device),
        join_packs([example.pack for example in examples]).to(device),
        *(
            torch.cat([getattr(example, name) for example in examples]).to(device)
            for name in ("mean_logprob", "labels", "weights")
        ),
    )


def shuffled(count: int, seed: int, epoch: int) -> list[int]:
    """The order of an epoch, the same whenever it is asked for."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(count).tolist()
    return order


# -- what makes trees useless for training, found before any time is spent on them


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
