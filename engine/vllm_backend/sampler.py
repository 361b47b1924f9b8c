"""Our sampling inside vLLM: a logits processor, loaded in vLLM's workers, that draws the token and reports how.

It draws as the torch backend does, from the same counter-based random numbers (randomness.py), so a search gives the same
answers on both backends and a candidate does not depend on what else is in the batch. vLLM's own sampler then has no choice
left: it is asked for the greatest logit. The numbers that the tree keeps of a token (NUMBERS) and what a value tail emitted
at the position before it (vllm_forked.py) come back as "log-probabilities" of a few token ids: those of the first columns
that are not the token's own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from ..randomness import uniforms
from ..sampling import Sampling, distributions
from .requests import NUMBERS, REQUEST_KEY

_CHOSEN = 1e30  # above every number that is reported


class _Stream(NamedTuple):
    """One request: its random stream, the depth of its first token, and vLLM's own list of the tokens so far."""

    sampling: Sampling
    seed: int
    problem: int
    stream: int
    depth: int
    tokens: list[int]


class CounterBasedSampler(LogitsProcessor):  # type: ignore[misc,unused-ignore]
    """See the module. Rows of requests that are not ours pass unchanged."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._vocabulary: int = vllm_config.model_config.get_vocab_size()
        self._streams: dict[int, _Stream] = {}

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._streams, batch_update, _stream)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """logits [rows, V + E], the last E being what a value tail emitted, if there is one -> [rows, V]."""
        vocabulary, emitted = logits[:, : self._vocabulary], logits[:, self._vocabulary :]
        if not self._streams:
            return vocabulary.contiguous()
        settled = torch.full_like(vocabulary, -torch.inf)
        others = [row for row in range(len(logits)) if row not in self._streams]
        settled[others] = vocabulary[others]
        by_sampling: dict[Sampling, list[int]] = {}
        for row, stream in self._streams.items():
            by_sampling.setdefault(stream.sampling, []).append(row)
        for sampling, rows in by_sampling.items():
            tokens, numbers = self._draw(vocabulary[rows], sampling, [self._streams[row] for row in rows])
            reported = torch.cat([torch.from_numpy(numbers).to(settled), emitted[rows]], dim=1)
            columns = _columns(tokens, reported.shape[1])
            at = torch.tensor(rows, device=settled.device)
            settled[at[:, None], torch.from_numpy(columns).to(settled.device)] = reported
            settled[at, torch.from_numpy(tokens).to(settled.device)] = _CHOSEN
        return settled

    @staticmethod
    def _draw(logits: torch.Tensor, sampling: Sampling, streams: list[_Stream]) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [n] and their NUMBERS [n, 5], float32."""
        found = distributions(logits, sampling)
        seeds, problems = (np.asarray(part, np.uint64) for part in zip(*((s.seed, s.problem) for s in streams), strict=True))
        positions = np.asarray([stream.depth + len(stream.tokens) for stream in streams])
        draws = uniforms(seeds, problems, np.asarray([stream.stream for stream in streams]), positions)
        columns = [found.draw(row, uniform) for row, uniform in enumerate(draws.tolist())]
        rows = np.arange(len(streams))
        numbers = [
            found.logprob[rows, columns],
            found.sample_logprob[rows, columns],
            found.entropy,
            found.margin,
            found.certainty,
        ]
        return found.tokens[rows, columns], np.stack(numbers, axis=1).astype(np.float32)


def _stream(params: Any, prompt_ids: list[int] | None, tokens: list[int]) -> _Stream | None:
    own = (params.extra_args or {}).get(REQUEST_KEY)
    if own is None:
        return None
    sampling = Sampling(own["temperature"], own["top_p"], own["top_k"], own["min_p"])
    return _Stream(sampling, own["seed"], own["problem"], own["stream"], own["depth"], tokens)


def _columns(tokens: np.ndarray, count: int) -> np.ndarray:
    """The first `count` columns but the token's own, [n, count]."""
    columns = np.tile(np.arange(count), (len(tokens), 1))
    return columns + (columns >= tokens[:, None])


assert len(NUMBERS) == 5
