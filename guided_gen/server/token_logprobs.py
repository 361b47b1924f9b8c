"""The log-probabilities of an answer's tokens, as chats and completions report them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine.models.tokenizer import MidText
from ..solution import Candidate


def chat_logprobs(candidate: Candidate, tokenizer: Any) -> dict[str, Any]:
    """OpenAI's form, with the `value` after each token."""
    pieces = MidText(tokenizer).batch_decode([token] for token in candidate.token_ids.tolist())
    pieces[:1] = tokenizer.batch_decode([token] for token in candidate.token_ids[:1].tolist())  # a text of its own begins
    rows = zip(pieces, candidate.logprobs.tolist(), candidate.values.tolist(), strict=True)
    content = []
    for i, (piece, logprob, value) in enumerate(rows):
        likely = [_token(*one) for one in _alternatives(candidate, i, tokenizer)]
        content.append(_token(piece, logprob) | {"top_logprobs": likely, "value": value if math.isfinite(value) else None})
    return {"content": content, "refusal": None}


def completion_logprobs(candidate: Candidate, tokenizer: Any) -> dict[str, Any]:
    """OpenAI's older form."""
    pieces = MidText(tokenizer).batch_decode([token] for token in candidate.token_ids.tolist())
    offsets = [sum(map(len, pieces[:i])) for i in range(len(pieces))]
    likely = None
    if candidate.alternatives is not None:
        likely = [dict(_alternatives(candidate, i, tokenizer)) for i in range(len(pieces))]
    return {"tokens": pieces, "token_logprobs": candidate.logprobs.tolist(), "top_logprobs": likely, "text_offset": offsets}


def _alternatives(candidate: Candidate, place: int, tokenizer: Any) -> Sequence[tuple[str, float]]:
    if candidate.alternatives is None:
        return ()
    tokens, logprobs = candidate.alternatives[place]
    return list(zip(MidText(tokenizer).batch_decode([token] for token in tokens.tolist()), logprobs.tolist(), strict=True))


def _token(piece: str, logprob: float) -> dict[str, Any]:
    """`bytes` is None where the token is a part of a character."""
    spelled = None if "\ufffd" in piece else list(piece.encode("utf-8", "replace"))
    return {"token": piece, "logprob": logprob, "bytes": spelled}
