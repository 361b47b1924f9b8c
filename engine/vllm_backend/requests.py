"""Requests to vLLM that continue a token sequence, and what comes back for each token."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackendError
from ..sampling import Sampling
from .engine import VllmEngine

REQUEST_KEY = "guided_gen"  # of a request's extra arguments: what vllm_sampler.py draws by
NUMBERS = ("logprob", "sample_logprob", "entropy", "margin", "certainty")  # columns of the tree, for each token
_numbers = itertools.count()


class Token(NamedTuple):
    """A token below a prefix. `numbers` [5]: see NUMBERS; `emitted` [E]: what the tail emitted at the prefix's last token."""

    token_id: int
    numbers: np.ndarray
    emitted: np.ndarray


@dataclass(frozen=True)
class Draws:
    """What a sample's tokens are drawn by: token t of an answer from the random number at (seed, problem, stream, t)."""

    sampling: Sampling
    seed: int
    problem: int
    stream: int


class DecodeRequest:
    """One request, alive in the engine until it ends or is aborted; its tokens queue up until they are taken.

    It runs ahead of its reader: at most `tokens` in all. Made and used in the engine's loop.
    """

    def __init__(
        self,
        engine: VllmEngine,
        prefix: Sequence[int],
        depth: int,
        draws: Draws,
        tokens: int,
        stop_ids: frozenset[int],
        width: int,
    ) -> None:
        """`prefix`: prompt and answer so far, of which `depth` tokens are the answer's; `width`: numbers of the value tail."""
        self._engine = engine
        self._width = width
        self._arrived: deque[Token] = deque()
        self._news = asyncio.Event()
        self._failure: BackendError | None = None
        self.ended = False  # no more than what has arrived will come
        # All requests of a problem go to one replica: there its prefixes are cached.
        replica = draws.problem % engine.replicas if engine.replicas > 1 else None
        parameters = _parameters(draws, depth, tokens, stop_ids, width)
        engine.counts.requests += 1
        self._task = engine.loop.create_task(self._receive(list(prefix), parameters, replica))

    async def _receive(self, prefix: list[int], parameters: Any, replica: int | None) -> None:
        try:
            prompt, name = {"prompt_token_ids": prefix}, f"guided-gen-{next(_numbers)}"
            async for output in self._engine.llm.generate(prompt, parameters, name, data_parallel_rank=replica):
                self._engine.last_news = time.monotonic()
                self._arrived.extend(_tokens(output.outputs[0], len(NUMBERS) + self._width))
                self.ended = output.finished
                self._news.set()
        except Exception as error:  # whatever vLLM fails of becomes the failure of whoever waits for this request
            self._failure = self._engine.failure(error)
        finally:
            self.ended = True
            self._news.set()

    async def wait_for(self, count: int) -> None:
        """Until `count` tokens are here, or fewer and no more will come. Raises BackendError where vLLM fails or falls silent."""
        while len(self._arrived) < count and not self.ended:
            self._news.clear()
            await self._engine.patiently(self._news.wait())
        if self._failure is not None:
            raise self._failure
        if not self._arrived:
            raise BackendError("vLLM has ended a request without a token")

    @property
    def next(self) -> Token | None:
        """The next token, left where it is; None where none has arrived."""
        return self._arrived[0] if self._arrived else None

    def take(self) -> Token:
        return self._arrived.popleft()

    async def abort(self) -> None:
        """Stop it in the engine too. Does nothing where it has ended."""
        self._engine.counts.aborted += not self.ended
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _parameters(draws: Draws, depth: int, tokens: int, stop_ids: frozenset[int], width: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = draws.sampling
    return SamplingParams(
        temperature=0.0,  # the greatest logit, which vllm_sampler.py has chosen
        max_tokens=tokens,
        stop_token_ids=sorted(stop_ids),
        ignore_eos=True,  # the stop tokens alone count
        detokenize=False,
        flat_logprobs=True,
        logprob_token_ids=list(range(len(NUMBERS) + width + 1)),
        output_kind=RequestOutputKind.DELTA,
        extra_args={
            REQUEST_KEY: {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k,
                "min_p": sampling.min_p,
                "seed": draws.seed & 0xFFFFFFFFFFFFFFFF,
                "problem": draws.problem,
                "stream": draws.stream,
                "depth": depth,
            }
        },
    )


def _tokens(output: Any, count: int) -> list[Token]:
    """A delta's tokens, with `count` reported numbers each.

    The first column is the token itself, then come those that were asked for. The token may be one of them, but vLLM leaves it
    out there where it has merged deltas that nobody had taken yet.
    """
    flat = output.logprobs
    tokens = []
    for position, token_id in enumerate(output.token_ids):
        start, end = flat.start_indices[position], flat.end_indices[position]
        ids, values = flat.token_ids[start + 1 : end], flat.logprobs[start + 1 : end]
        reported = np.asarray(
            [value for column, value in zip(ids, values, strict=True) if column != token_id][:count], np.float64
        )
        tokens.append(Token(int(token_id), reported[: len(NUMBERS)], reported[len(NUMBERS) :]))
    return tokens
