"""What changes a session's logits before tokens are drawn from them: a bias, penalties for what the answer holds, a grammar.

The model's own log-probabilities, and all that is computed from them, are those of the unchanged logits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .sampling import Sampling
from .tree import ROOT, Tree

_NEVER = -1e30  # the logit of a token that may not follow: finite, so that sums over a row stay numbers


class Shaping:
    """One session's: `sampling` says how, the tree below it what stands before each token."""

    def __init__(self, sampling: Sampling, tree: Tree) -> None:
        self._sampling, self._tree = sampling, tree
        self._grammar = sampling.grammar
        self._matchers: dict[int, Any] = {} if self._grammar is None else {ROOT: self._grammar.begin()}

    def apply_(self, logits: torch.Tensor, node: int) -> None:
        """Change the logits [V] of the token after `node`, in place."""
        sampling = self._sampling
        if sampling.bias:
            ids, values = zip(*sampling.bias, strict=True)
            logits[list(ids)] += torch.tensor(values, dtype=logits.dtype, device=logits.device)
        if sampling.presence_penalty or sampling.frequency_penalty:
            held, counts = np.unique(self._tree.tokens(node), return_counts=True)
            off = sampling.presence_penalty + sampling.frequency_penalty * counts
            logits[torch.from_numpy(held.astype(np.int64)).to(logits.device)] -= torch.from_numpy(off).to(logits)
        if self._grammar is not None:
            never = torch.from_numpy(~self._grammar.allowed(self._matcher(node)))
            logits.masked_fill_(never.to(logits.device), _NEVER)

    def keep(self, nodes: set[int]) -> None:
        """Forget what is known of all other nodes; it is found anew where it is needed."""
        for node in self._matchers.keys() - nodes - {ROOT}:
            del self._matchers[node]

    def _matcher(self, node: int) -> Any:
        """The matcher behind `node`, from that of the nearest node above it that has one."""
        assert self._grammar is not None
        above, tokens = node, []
        while above not in self._matchers:
            tokens.append(int(self._tree.nodes.token_id[above]))
            above = int(self._tree.nodes.parent[above])
        if tokens:
            self._matchers[node] = self._grammar.after(self._matchers[above], tokens[::-1])
        return self._matchers[node]
