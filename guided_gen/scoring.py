"""Reading texts that others wrote: how likely the model finds each token, and the value after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .data_builder.problems.prompts import PromptTemplate
from .engine.errors import SettingsError
from .engine.language_model import LanguageModel, Prompt
from .engine.models.tokenizer import MidText
from .engine.sampling import Sampling
from .engine.tree import ROOT
from .question import Question, goes_on, question_prompt


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
class TokenizedText:
    """A text as an answer to a prompt, not yet scored; `pieces` are the tokens' parts of it."""

    prompt: Prompt
    token_ids: list[int]
    pieces: list[str]


def read_text(
    model: LanguageModel,
    tokenizer: Any,
    template: PromptTemplate,
    question: Question,
    text: str,
    max_prompt_tokens: int | None = None,
    max_tokens: int | None = None,
) -> TokenizedText:
    """Raises SettingsError for a text that is empty, has more than `max_tokens`, or cannot stand behind another; ContextError."""
    ids, offsets = _as_rest(tokenizer, text) if goes_on(question) else _tokens(tokenizer, text)
    if not ids:
        raise SettingsError("an empty text has no score")
    if max_tokens is not None and len(ids) > max_tokens:
        raise SettingsError(f"the text has {len(ids)} tokens; up to {max_tokens} may be scored")
    left = model.max_length - len(ids)
    room = left if max_prompt_tokens is None else min(left, max_prompt_tokens)
    prompt = question_prompt(model, tokenizer, question, template, room)
    return TokenizedText(prompt, ids, _pieces(text, offsets))


def _tokens(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """The token ids of a text, and the place of each in it: its first character, and one past its last."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return encoded["input_ids"], encoded["offset_mapping"]


def _as_rest(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """`_tokens` as they stand behind another text. SentencePiece's tokenizers put a space before a text of its own, not there."""
    ids, offsets = _tokens(tokenizer, text)
    amid = MidText(tokenizer)
    if amid.decode(ids) != f" {text}":
        return ids, offsets
    lines, behind = _tokens(tokenizer, "\n"), _tokens(tokenizer, f"\n{text}")
    count = len(lines[0])
    rest = behind[0][count:]
    if behind[0][:count] != lines[0] or amid.decode(rest) != text:
        raise SettingsError("this model's tokenizer has no tokens for the text behind another one")
    return rest, [(start - 1, end - 1) for start, end in behind[1][count:]]


def score_text(model: LanguageModel, text: TokenizedText) -> ScoredText:
    """To be called by the thread that decodes. Raises SettingsError where the backend cannot read what it did not write."""
    prompt, ids = text.prompt, text.token_ids
    logprobs = model.logprobs(prompt.token_ids, ids)
    values = _values(model, prompt, ids, logprobs) if model.scores else np.full(len(ids), np.nan)
    return ScoredText(text.pieces, np.asarray(ids), logprobs, values, len(prompt.token_ids))


def _values(model: LanguageModel, prompt: Prompt, ids: Sequence[int], logprobs: np.ndarray) -> np.ndarray:
    session = model.open(replace(prompt, room=len(ids)), Sampling(), 0)
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
