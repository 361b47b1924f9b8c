"""A tree as one sequence: every token once, a prompt first, then its nodes depth first.

In this order the tokens that attend to token j, itself and all below it, are the contiguous range j ... ends[j] - 1. So `ends`
alone is the 4-d attention mask of a tree, or of several trees one after the other; sums along paths come from one running sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from ..engine.errors import DataError
from ..engine.tree import ROOT, Tree, prompt_hash


@dataclass(frozen=True)
class PromptedTree:
    """A tree with what it does not hold: the ids of its prompt, and the problem that splits and statistics go by."""

    tree: Tree
    prompt_ids: tuple[int, ...]
    problem: str

    def __post_init__(self) -> None:
        if prompt_hash(self.prompt_ids) != self.tree.prompt_hash:
            raise DataError(
                f"the prompt of {self.problem} is not the one its tree was grown below: "
                "the prompt template, the tokenizer or the statement has changed since"
            )


@dataclass(frozen=True)
class Pack:
    """T tokens, N of them generated, of one or more trees. All are int64 tensors.

    token_ids, positions [T]: what the model reads. ends [T]: one past the last token below each. rows [N]: where the generated
    tokens stand among the T. Of each of these N: `depths`, generated tokens up to it, itself included; `generated_ends`, `ends`
    counted in generated tokens; `nodes`, its number in its tree; `trees`, the number of its tree in the pack.
    """

    token_ids: torch.Tensor
    positions: torch.Tensor
    ends: torch.Tensor
    rows: torch.Tensor
    depths: torch.Tensor
    generated_ends: torch.Tensor
    nodes: torch.Tensor
    trees: torch.Tensor

    def __len__(self) -> int:
        return len(self.token_ids)

    def to(self, device: torch.device | str) -> Pack:
        return Pack(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def pack_tree(tree: Tree, prompt_ids: Sequence[int]) -> Pack:
    """Pack one tree below its prompt."""
    parents, size, prompt = tree.nodes.parent.tolist(), len(tree), len(prompt_ids)
    below = [1] * size
    for node in range(size - 1, -1, -1):
        if parents[node] != ROOT:
            below[parents[node]] += below[node]
    place = [0] * size
    free = [0] * (size + 1)  # where the next child of each node goes; the root's is the last entry, which -1 names
    for node, parent in enumerate(parents):
        place[node] = free[parent]
        free[parent] += below[node]
        free[node] = place[node] + 1
    nodes = np.empty(size, np.int64)
    nodes[place] = np.arange(size)
    depths = tree.depth[nodes].astype(np.int64)
    generated_ends = np.arange(size) + np.asarray(below, np.int64)[nodes]
    arrays = {
        "token_ids": np.concatenate([np.asarray(prompt_ids, np.int64), tree.nodes.token_id[nodes].astype(np.int64)]),
        "positions": np.concatenate([np.arange(prompt), prompt - 1 + depths]),
        "ends": np.concatenate([np.full(prompt, prompt + size), prompt + generated_ends]),
        "rows": np.arange(prompt, prompt + size),
        "depths": depths,
        "generated_ends": generated_ends,
        "nodes": nodes,
        "trees": np.zeros(size, np.int64),
    }
    return Pack(**{name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()})


def pack_sequence(token_ids: Sequence[int]) -> Pack:
    """A pack of one text, all of it read and none of it generated."""
    size = len(token_ids)
    none = torch.empty(0, dtype=torch.int64)
    return Pack(
        token_ids=torch.tensor(token_ids, dtype=torch.int64),
        positions=torch.arange(size),
        ends=torch.full((size,), size),
        **dict.fromkeys(("rows", "depths", "generated_ends", "nodes", "trees"), none),
    )


def join_packs(packs: Sequence[Pack]) -> Pack:
    """Several packs one after the other; no token attends across their borders."""
    joined: dict[str, list[torch.Tensor]] = {field.name: [] for field in fields(Pack)}
    tokens = generated = trees = 0
    for pack in packs:
        offsets = {"ends": tokens, "rows": tokens, "generated_ends": generated, "trees": trees}
        for name, parts in joined.items():
            parts.append(getattr(pack, name) + offsets.get(name, 0))
        tokens += len(pack)
        generated += len(pack.rows)
        trees += int(pack.trees.max()) + 1 if len(pack.trees) else 1
    return Pack(**{name: torch.cat(parts) for name, parts in joined.items()})


def token_batches(lengths: Sequence[int], budget: int, order: Iterable[int]) -> Iterator[list[int]]:
    """The indices of `order` in groups of at most `budget` tokens; an example that is longer by itself is a group of its own."""
    group: list[int] = []
    tokens = 0
    for index in order:
        if group and tokens + lengths[index] > budget:
            yield group
            group, tokens = [], 0
        group.append(index)
        tokens += lengths[index]
    if group:
        yield group


def path_means(numbers: torch.Tensor, pack: Pack) -> torch.Tensor:
    """The mean of `numbers` [N, E] along the path from the first generated token to each, [N, E]. Differentiable.

    A token enters the running sum at its own place and leaves it where its subtree ends. The sum is held in float64, since what
    entered and left must cancel over the whole pack.
    """
    exact = numbers.double()
    changes = torch.cat([exact, exact.new_zeros(1, exact.shape[1])]).index_add(0, pack.generated_ends, -exact)
    return (changes.cumsum(0)[:-1] / pack.depths[:, None]).to(numbers.dtype)
