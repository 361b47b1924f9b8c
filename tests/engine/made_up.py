"""Made-up trees for policies, and a made-up language model for whole searches: no weights, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from guided_gen.engine.language_model import Growth, LanguageModel, Prompt
from guided_gen.engine.policies import View
from guided_gen.engine.randomness import problem_key, uniforms
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.tree import ROOT, Tree

VALUES = [0.1, 0.35, 0.5, 0.9, np.nan]


@st.composite
def views(draw: st.DrawFn) -> View:
    """Random trees: live samples anywhere, finished ones at leaves, dropped ones where they were; values missing or equal."""
    size = draw(st.integers(1, 12))
    parent = [draw(st.integers(-1, node - 1)) for node in range(size)]
    live, finished, dropped = (np.zeros(size + 1, np.int64) for _ in range(3))
    for node in range(size):
        if node in parent:
            live[node] = draw(st.sampled_from([0, 0, 0, 1]))
            dropped[node] = draw(st.sampled_from([0, 0, 0, 2]))
        else:
            draw(st.sampled_from([live, live, finished, dropped]))[node] = draw(st.integers(1, 3))
    depth = [0] * (size + 1)
    for node in range(size):
        depth[node] = depth[parent[node]] + 1
    siblings = [parent.count(above) for above in parent]
    share = [draw(st.sampled_from([0.2, 0.6, 1.0])) / count for count in siblings]
    return View(
        parent=np.asarray([*parent, -1]),
        depth=np.asarray(depth),
        logprob=np.log([*share, 1]),
        sample_logprob=np.log([*share, 1]),
        value=np.asarray([draw(st.sampled_from(VALUES)) for _ in range(size)] + [np.nan]),
        live=live,
        finished=finished,
        dropped=dropped,
        tie=np.random.default_rng(draw(st.integers(0, 99))).permutation(size + 1) / (size + 1),
        population=max(int(live.sum() + finished.sum()), 1) + draw(st.integers(0, 3)),
        tokens_left=draw(st.sampled_from([None, 1, 100])),
    )


def permuted(view: View, order: np.ndarray) -> View:
    """The same tree with node `order[i]` in place i (the root stays last); parents need not come first here."""
    place, full = np.append(np.argsort(order), -1), np.append(order, len(order))
    columns = {f.name: getattr(view, f.name)[full] for f in fields(view) if isinstance(getattr(view, f.name), np.ndarray)}
    return replace(view, **(columns | {"parent": place[view.parent[full]]}))


def leaves_with(values: list[float], finished: Sequence[float] = (), population: int | None = None, **changes: Any) -> View:
    """Single-token candidates: live ones with `values`, then finished ones."""
    size = len(values) + len(finished)
    view = View(
        parent=np.full(size + 1, -1),
        depth=np.append(np.ones(size, np.int64), 0),
        logprob=np.zeros(size + 1),
        sample_logprob=np.append(np.full(size, -np.log(max(size, 1))), 0),
        value=np.asarray([*values, *finished, np.nan]),
        live=np.asarray([1] * len(values) + [0] * (len(finished) + 1)),
        finished=np.asarray([0] * len(values) + [1] * len(finished) + [0]),
        dropped=np.zeros(size + 1, np.int64),
        tie=np.linspace(0, 0.9, size + 1),
        population=size if population is None else population,
    )
    return replace(view, **changes)


@dataclass
class MadeUpSession:
    tree: Tree
    seed: int
    stop_ids: frozenset[int]


class MadeUpModel(LanguageModel):
    """Its next-token distributions and values are functions of the tokens before.

    By default both are random numbers from a hash of these tokens. It draws whole blocks, as backends may.
    """

    max_length = 1 << 20
    scores = True

    def __init__(
        self,
        vocabulary: int = 4,
        probabilities: Callable[[tuple[int, ...]], Sequence[float]] | None = None,
        value: Callable[[tuple[int, ...]], float] | None = None,
    ) -> None:
        self.vocabulary_size = vocabulary
        self._probabilities = probabilities or (lambda tokens: _rng(tokens).dirichlet(np.ones(vocabulary)).tolist())
        self._value = value or (lambda tokens: float(_rng((*tokens, -1)).random()))

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> MadeUpSession:
        return MadeUpSession(Tree.below(prompt.token_ids), seed, stop_ids)

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        return [np.asarray([self._grown(growth, i) for i in range(len(growth.leaves))], np.int64) for growth in growths]

    def _grown(self, growth: Growth, i: int) -> int:
        session, leaf = growth.session, int(growth.leaves[i])
        assert isinstance(session, MadeUpSession)
        for _ in range(growth.tokens):
            tree = session.tree
            chances = self._probabilities(tuple(tree.tokens(leaf).tolist()))
            position = np.asarray([tree.depth_of(leaf)])
            drawn = uniforms(session.seed, problem_key(tree.prompt_hash), growth.streams[i : i + 1], position)[0]
            token = min(int(np.searchsorted(np.cumsum(chances), drawn, side="right")), self.vocabulary_size - 1)
            logprob = float(np.log(chances[token]))
            leaf = tree.add_node(leaf, token, logprob=logprob, sample_logprob=logprob)
            if token in session.stop_ids:
                break
        return leaf

    def read(self, wanted: Sequence[tuple[Any, np.ndarray]]) -> None:
        for session, leaves in wanted:
            for leaf in leaves.tolist():
                while leaf != ROOT and np.isnan(session.tree.nodes.value[leaf]):
                    session.tree.nodes.value[leaf] = self._value(tuple(session.tree.tokens(leaf).tolist()))
                    leaf = int(session.tree.nodes.parent[leaf])


def _rng(tokens: Sequence[int]) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(tokens).encode()).digest()[:8], "little"))
