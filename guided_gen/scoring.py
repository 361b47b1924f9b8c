"""Reading texts that others wrote: how likely the model finds each token, and the value after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .data_builder.problems.prompts import PromptTemplate
from .engine.errors import GuidedGenError
from .engine.language_model import LanguageModel, Prompt
from .engine.sampling import Sampling
from .engine.tree import ROOT
from .question import Question, question_prompt, understood


class ScoringError(GuidedGenError):
    """A text that cannot be scored."""


@dataclass(frozen=True)
class ScoredText:
    """A text as an answer's tokens. Arrays have one entry a token: `token_ids`, `logprobs` (model), `values` (NaN without a value
    model); `pieces` are the tokens' parts of the text.
    """

    pieces: list[str]
    token_ids: np.ndarray
    logprobs: np.ndarray
    values: np.ndarray
    prompt_tokens: int

    @property
    def mean_logprob(self) -> float:
        return float(self.logprobs.mean())

    @property
    def value(self) -> float:
        """After the last token: the value of the whole text. NaN without a value model."""
        return float(self.values[-1])


@dataclass(frozen=True)
class Room:
    """Most tokens of a prompt and of a text; None where only the model's context bounds them."""

    prompt: int | None = None
    text: int | None = None


def reading(
    model: LanguageModel,
    tokenizer: Any,
    template: PromptTemplate,
    question: Question,
    text: str,
    room: Room,
) -> Callable[[], ScoredText]:
    """Tokenize now; what is returned reads the tokens, and has to be called by the thread that decodes. Raises ScoringError."""
    asked = understood(question)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = encoded["input_ids"]
    if not ids:
        raise ScoringError("an empty text has no score")
    pieces = _pieces(text, encoded["offset_mapping"])
    if room.text is not None and len(ids) > room.text:
        raise ScoringError(f"the text has {len(ids)} tokens; up to {room.text} may be scored")
    left = model.max_length - len(ids)
    prompt = question_prompt(model, tokenizer, asked, template, left if room.prompt is None else min(left, room.prompt))

    def read() -> ScoredText:
        logprobs = model.logprobs(prompt.token_ids, ids)
        values = np.full(len(ids), np.nan)
        if model.scores:
            values = _values(model, prompt, ids, logprobs)
        return ScoredText(pieces, np.asarray(ids), logprobs, values, len(prompt.token_ids))

    return read


def _values(model: LanguageModel, prompt: Prompt, ids: Sequence[int], logprobs: np.ndarray) -> np.ndarray:
    session = model.open(prompt, Sampling(), 0)
    try:
        node = ROOT
        for token, logprob in zip(ids, logprobs.tolist(), strict=True):
            node = session.tree.add_node(node, token, logprob=logprob)
        model.read([(session, np.asarray([node]))])
        return session.tree.nodes.value.astype(np.float64)
    finally:
        model.close(session)


def _pieces(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Each token's part of the text; together they are the text, also where tokens share a character."""
    ends = np.maximum.accumulate([end for _, end in offsets]).tolist()
    ends[-1] = len(text)
    return [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
