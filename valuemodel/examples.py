"""Trees made ready for a loss: packed, with labels and weights in the order of the pack, and joined into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ..engine.errors import DataError
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
