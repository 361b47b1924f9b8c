"""The vLLM backend: candidates are requests that decode freely; the search takes their tokens when it asks for them.

Between two checks a request goes on by itself, a little ahead of the search (`_RUN_AHEAD`); dropped candidates' requests are
aborted, forks begin as new requests, whose prefix vLLM finds in its prefix cache. Token ids go in and out. Samples draw by
counter-based random numbers inside vLLM (vllm_sampler.py), so answers depend on seed and stream alone, up to the rounding of
float products, which depends on the batch.

`advance` may be called from several threads at once, each with sessions of its own: their requests share vLLM's batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import nan
from typing import cast

import numpy as np

from ..errors import ContextError, SettingsError
from ..language_model import Growth, LanguageModel, Prompt, Statistics
from ..language_model import Session as AnySession
from ..randomness import problem_key
from ..sampling import Sampling
from ..tail import EmittedSums, PathHead, set_values
from ..tree import ROOT, Tree
from .engine import VllmEngine
from .requests import NUMBERS, DecodeRequest, Draws, Token

# A request is bounded, so that a search that is not driven on (a paused program) stops costing anything.
_RUN_AHEAD = 64
# Most tokens of one `advance`: whoever asked for more asks again, and nobody waits for the longest answer of a batch.
_BLOCK = 32
_PEEK = -1  # the stream of a request that only reads a leaf's value


class VllmSession:
    """One prompt's tree, the live requests below it, and what the value tail has emitted."""

    def __init__(
        self, tree: Tree, prompt_ids: list[int], sampling: Sampling, seed: int, stop_ids: frozenset[int], width: int
    ) -> None:
        self.tree = tree
        self.prompt_ids = prompt_ids
        self.sampling = sampling
        self.seed = seed
        self.problem = problem_key(tree.prompt_hash)
        self.stop_ids = stop_ids
        self.requests: dict[tuple[int, int], DecodeRequest] = {}  # by the node that its next token follows, and stream
        self.emitted: dict[int, np.ndarray] = {}
        self.sums = EmittedSums(width)

    def stream(self, stream: int) -> int:
        """All greedy samples at a node are one."""
        return stream if self.sampling.temperature else 0


class VllmLanguageModel(LanguageModel):
    """A model served by vLLM, with or without a value tail in the same pass; `head` turns what the tail emits into values."""

    def __init__(self, engine: VllmEngine, head: PathHead | None = None) -> None:
        self.engine = engine
        self._head = head
        self.scores = head is not None
        self.vocabulary_size: int = engine.llm.model_config.get_vocab_size()
        # The value of an answer that fills the context comes with one token more.
        self.max_length: int = engine.llm.model_config.max_model_len - (head is not None)
        self._width = 0 if head is None else head.width  # of what comes with each token

    @property
    def statistics(self) -> Statistics:
        """`passes`: the engine's steps, whoever they were for. vLLM does not tell what a tail takes of them."""
        return Statistics(self.engine.counts.steps, nan if self.scores else 0.0, in_process=False)

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> VllmSession:
        """Nothing is read yet: the first request reads the prompt, the others find it. Raises ContextError, SettingsError."""
        if sampling.extras:
            raise SettingsError(f"the vLLM backend does not support {', '.join(sampling.extras)}")
        token_ids = list(map(int, prompt.token_ids))
        if not token_ids:
            raise ContextError("the prompt is empty")
        if len(token_ids) >= self.max_length:
            raise ContextError(f"the prompt has {len(token_ids)} tokens; this model's context holds {self.max_length}")
        width = 0 if self._head is None else self._head.width
        return VllmSession(Tree.below(token_ids), token_ids, sampling, seed, stop_ids, width)

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """See `LanguageModel.advance`. Raises BackendError where vLLM fails, ContextError where the context is full."""
        return self.engine.run(self.advance_async(growths))

    def read(self, wanted: Sequence[tuple[AnySession, np.ndarray]]) -> None:
        if self.scores:
            self.engine.run(self.read_async(wanted))

    def keep(self, session: AnySession, leaves: np.ndarray) -> None:
        """Abort the requests below every other node."""
        self.engine.run(self._keep(cast(VllmSession, session), leaves))

    def close(self, session: AnySession) -> None:
        """Abort the session's requests."""
        if not self.engine.closed:
            self.keep(session, np.empty(0, np.int64))

    def end(self) -> None:
        """End vLLM's processes; nothing can be done with this model any more."""
        self.engine.close()

    # -- in the engine's loop

    async def advance_async(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        """`advance` for a program that runs in the engine's own loop."""
        growing = [(cast(VllmSession, growth.session), growth) for growth in growths]
        requests = [
            [self._request(session, leaf, stream, growth.tokens) for leaf, stream in _samples(growth)]
            for session, growth in growing
        ]
        for (session, growth), own in zip(growing, requests, strict=True):
            await _abort_others(session, growth)
            for request in own:
                await request.wait_for(min(growth.tokens, _BLOCK))
        return [self._take(session, growth, own) for (session, growth), own in zip(growing, requests, strict=True)]

    async def read_async(self, wanted: Sequence[tuple[AnySession, np.ndarray]]) -> None:
        """A node's value comes with the token below it: wait for that, or ask for one where the sample has ended."""
        waiting: list[tuple[VllmSession, int, DecodeRequest]] = []
        for session, nodes in ((cast(VllmSession, session), nodes) for session, nodes in wanted):
            for node in np.unique(nodes).tolist():
                if node != ROOT and node not in session.emitted:
                    below = next((request for (at, _), request in session.requests.items() if at == node), None)
                    if below is None or (below.ended and below.next is None):
                        below = self._begin(session, node, _PEEK, 1)
                    waiting.append((session, node, below))
        for session, node, request in waiting:
            await request.wait_for(1)
            assert request.next is not None
            session.emitted[node] = request.next.emitted
            peek = session.requests.get((node, _PEEK))
            if peek is not None:
                await peek.abort()
                del session.requests[node, _PEEK]
        for session in {id(session): session for session, _, _ in waiting}.values():
            self._score(session)

    async def _keep(self, session: VllmSession, leaves: np.ndarray) -> None:
        kept = (
            {int(node) for leaf in np.unique(leaves).tolist() for node in session.tree.path(leaf)} | {ROOT}
            if len(leaves)
            else set()
        )
        dropped = [key for key in session.requests if key[0] not in kept]
        await asyncio.gather(*(session.requests.pop(key).abort() for key in dropped))

    def _request(self, session: VllmSession, leaf: int, stream: int, tokens: int) -> DecodeRequest:
        """The live request of a sample, or a new one."""
        request = session.requests.get((leaf, session.stream(stream)))
        if request is None or (request.ended and request.next is None):
            request = self._begin(session, leaf, session.stream(stream), tokens + _RUN_AHEAD)
        return request

    def _begin(self, session: VllmSession, node: int, stream: int, tokens: int) -> DecodeRequest:
        depth = session.tree.depth_of(node)
        room = self.max_length - len(session.prompt_ids) - depth
        if room < 1 and stream != _PEEK:
            raise ContextError(f"the prompt and the answer fill this model's context of {self.max_length} tokens")
        prefix = session.prompt_ids + session.tree.tokens(node).tolist()
        draws = Draws(session.sampling, session.seed, session.problem, max(stream, 0))
        request = DecodeRequest(self.engine, prefix, depth, draws, max(min(tokens, room), 1), session.stop_ids, self._width)
        session.requests[node, stream] = request
        return request

    def _take(self, session: VllmSession, growth: Growth, requests: list[DecodeRequest]) -> np.ndarray:
        """Move the tokens that have arrived into the tree, all samples' first tokens first, as the torch backend adds them."""
        tree, leaves = session.tree, growth.leaves.astype(np.int64)
        keys = [(leaf, session.stream(stream)) for leaf, stream in _samples(growth)]
        moved: dict[tuple[int, int], int] = {key: key[0] for key in keys}
        own = dict(zip(keys, requests, strict=True))
        for _ in range(min(growth.tokens, _BLOCK)):
            for key, request in own.items():
                if request.next is not None:
                    token = request.take()
                    node = moved[key]
                    if node != ROOT and self._width:
                        session.emitted.setdefault(node, token.emitted)
                    moved[key] = self._add(tree, node, token)
        for key, request in own.items():
            session.requests.pop(key, None)
            if not request.ended or request.next is not None:
                session.requests[moved[key], key[1]] = request
        for i, key in enumerate(keys):
            leaves[i] = moved[key]
        if self.scores:
            self._score(session)
        return leaves

    @staticmethod
    def _add(tree: Tree, node: int, token: Token) -> int:
        return tree.add_node(node, token.token_id, **dict(zip(NUMBERS, token.numbers.tolist(), strict=True)))

    def _score(self, session: VllmSession) -> None:
        """Turn what was emitted and is not yet a value into values, parents first."""
        values = session.tree.nodes.value
        new = [node for node in sorted(session.emitted) if np.isnan(values[node])]
        if new and self._head is not None:
            emitted = np.stack([session.emitted[node] for node in new])
            set_values(self._head, [(session.tree, session.sums, node) for node in new], emitted)


def _samples(growth: Growth) -> list[tuple[int, int]]:
    return list(zip(growth.leaves.tolist(), growth.streams.tolist(), strict=True))


async def _abort_others(session: VllmSession, growth: Growth) -> None:
    """Samples at a leaf that grows are dropped where they do not grow with it."""
    growing = {(leaf, session.stream(stream)) for leaf, stream in _samples(growth)}
    leaves = {leaf for leaf, _ in growing}
    dropped = [key for key in session.requests if key[0] in leaves and key not in growing]
    await asyncio.gather(*(session.requests.pop(key).abort() for key in dropped))
