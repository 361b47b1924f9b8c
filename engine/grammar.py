"""Grammars: which tokens may come next, so that an answer is JSON, or JSON of a given schema.

llguidance does the work; here is what a search needs of it: a matcher for every node, copied where the tree forks. It was chosen
over xgrammar because a matcher's copy takes 5 microseconds, a grammar needs no compilation, and nothing else is installed with it
(xgrammar brings triton); vLLM installs both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from .errors import SettingsError
from .schema_forms import narrowed

MOST_SCHEMA = 100_000  # characters of a schema
JSON_OBJECT: Mapping[str, Any] = {"type": "object"}
# Between two parts of a JSON text: the library's own default is white space without end, which small models do not leave.
_SPACE = r"[\x20\x0A\x0D\x09]{1,32}"


class GrammarVocabulary:
    """A model's tokens as grammars read them. Making it takes about a second, so a model has one."""

    def __init__(self, tokenizer: Any, stop_ids: frozenset[int], size: int) -> None:
        """`tokenizer` is the `tokenizers` library's; `size` the number of logits. Raises SettingsError where it is less."""
        self.size = size
        try:
            self._tokens = LLTokenizer(tokenizer.to_str(), n_vocab=size, eos_token=sorted(stop_ids))
        except ValueError as error:
            raise SettingsError(f"this model's answers cannot be held to a schema: {_first_line(error)}") from error

    def json(self, schema: Mapping[str, Any] | bool = JSON_OBJECT) -> Grammar:
        """Of answers that are JSON of this schema. Raises SettingsError with the library's words where it cannot hold it."""
        try:
            text = json.dumps(schema)
            if len(text) > MOST_SCHEMA:
                raise SettingsError(f"a schema may have {MOST_SCHEMA:,} characters, not {len(text):,}")
            source = LLMatcher.grammar_from_json_schema(json.dumps(narrowed(schema)), overrides={"whitespace_pattern": _SPACE})
        except (TypeError, ValueError, RecursionError) as error:
            raise SettingsError(f"this is no JSON schema: {_first_line(error)}") from error
        return Grammar(self._tokens, source, self.size)

    def one_of(self, forms: Sequence[tuple[str, Mapping[str, Any] | bool, str]]) -> Grammar:
        """Of answers that are one of several forms: a text, JSON of a schema, a text. Each schema is a document of its own.
        Raises SettingsError as `json`.
        """
        rules = []
        for i, (before, schema, after) in enumerate(forms):
            self.json(schema)  # which says better what is wrong with it
            narrow = narrowed(schema)
            schema = {"anyOf": [narrow]} if isinstance(narrow, bool) else dict(narrow)
            schema["x-guidance"] = {"whitespace_pattern": _SPACE}
            texts = [json.dumps(text) if text else "" for text in (before, after)]
            rules.append(f"form_{i}: {texts[0]} %json {json.dumps(schema)} {texts[1]}")
        start = " | ".join(f"form_{i}" for i in range(len(forms)))
        source = LLMatcher.grammar_from_lark("\n".join(["%llguidance {}", f"start: {start}", *rules]))
        return Grammar(self._tokens, source, self.size)


class Grammar:
    """What an answer must be. Equal only to itself."""

    def __init__(self, tokens: Any, source: str, vocabulary_size: int) -> None:
        self._start = LLMatcher(tokens, source, log_level=0)
        self._bytes = np.zeros(-(-vocabulary_size // 32) * 4, np.uint8)
        self._size = vocabulary_size
        if self._start.is_error():
            raise SettingsError(f"answers cannot be held to this schema: {_why_not(self._start.get_error())}")

    def begin(self) -> LLMatcher:
        """The matcher before the first token."""
        return self._start.deep_copy()

    def after(self, matcher: LLMatcher, token_ids: Sequence[int]) -> LLMatcher:
        """A copy of `matcher`, behind these tokens. Raises SettingsError where the grammar is too complex."""
        further = matcher.deep_copy()
        further.consume_tokens(list(token_ids))
        return self._sound(further)

    def allowed(self, matcher: LLMatcher) -> np.ndarray:
        """Which tokens may follow, bool [V]: valid until the next call. Raises SettingsError as `after`."""
        matcher.unsafe_compute_mask_ptr(self._bytes.ctypes.data, self._bytes.nbytes)
        self._sound(matcher)
        return np.unpackbits(self._bytes, count=self._size, bitorder="little").view(bool)

    @staticmethod
    def _sound(matcher: LLMatcher) -> LLMatcher:
        if matcher.is_error():
            raise SettingsError(f"an answer left its schema: {_first_line(matcher.get_error())}")
        return matcher


def _why_not(error: str) -> str:
    if error.startswith("oneOf constraints"):
        return "alternatives of oneOf are not told apart; send anyOf, or name the field that tells them apart as discriminator"
    return _first_line(error)


def _first_line(error: object) -> str:
    return (str(error).strip() or "it does not say why").splitlines()[0][:300]
