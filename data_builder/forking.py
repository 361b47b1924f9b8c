"""Forking tokens: where along a rollout other answers branch off.

The tokens that the model was least sure of decide what an answer becomes ("Beyond the 80/20 rule", Wang et al., 2025, by entropy;
"Smaller Models, Smarter Rewards", Groeneveld et al., 2025, by the probability of the token drawn, the default here).
"""

from __future__ import annotations

import numpy as np

from ..engine.errors import SettingsError
from ..engine.randomness import problem_key, uniforms
from ..engine.tree import Tree

STRATEGIES = ("lowest_prob", "entropy", "margin", "random")
_STREAM = -1  # of random draws; rollouts have the numbers from 0 on


def branch_points(
    tree: Tree, leaf: int, count: int, strategy: str = "lowest_prob", min_distance: int = 1, seed: int = 0
) -> list[int]:
    """At most `count` nodes on the path to `leaf`, first to last, whose tokens are to be sampled anew, from their parents.

    lowest_prob: the least probable tokens under the model at temperature 1; entropy: those drawn from the widest
    distributions; margin: those where the model's first and second choice are closest; random: any. Of equals the earliest.
    They are taken in that order, skipping those nearer than `min_distance` tokens to one taken before. Raises SettingsError.
    """
    path = tree.path(leaf)
    if strategy == "lowest_prob":
        rank = tree.nodes.logprob[path]
    elif strategy == "entropy":
        rank = -tree.nodes.entropy[path]
    elif strategy == "margin":
        rank = tree.nodes.margin[path]
    elif strategy == "random":
        rank = uniforms(seed, problem_key(tree.prompt_hash), np.full(len(path), _STREAM), np.arange(len(path)))
    else:
        raise SettingsError(f"there is no way to choose branch points called {strategy!r}; there are {', '.join(STRATEGIES)}")
    chosen: list[int] = []
    for position in np.argsort(rank, kind="stable").tolist():
        if len(chosen) == count:
            break
        if all(abs(position - other) >= min_distance for other in chosen):
            chosen.append(position)
    return [int(path[position]) for position in sorted(chosen)]
