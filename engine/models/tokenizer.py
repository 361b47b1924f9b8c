"""A model's tokenizer: text to token ids and back, and conversations by the model's chat template.

It is the `tokenizers` library's, with the few methods of transformers' tokenizers that are used here: importing transformers for
them would take longer than reading the vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from ..errors import ModelError
from ..files import replaced_atomically, write_atomically
from .chat_template import ChatTemplate
from .prompt_form import PromptForm, folded, plain_text, prompt_form

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
"""The files of a saved tokenizer, which transformers reads, too."""

_SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")


class Tokenizer:
    """`special_tokens` maps bos_token, eos_token, unk_token, pad_token, as far as there are such, to their texts."""

    def __init__(self, backend: Backend, special_tokens: Mapping[str, str], chat_template: str | None) -> None:
        self.backend_tokenizer = backend
        self.special_tokens = {name: special_tokens[name] for name in _SPECIAL if special_tokens.get(name) is not None}
        self.chat_template = chat_template

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """From the files that `save` writes. Raises ModelError."""
        try:
            backend = Backend.from_file(str(folder / TOKENIZER))
            settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            return cls(backend, settings, settings.get("chat_template"))
        except Exception as error:  # the library raises bare exceptions
            raise ModelError(f"the tokenizer in {folder} cannot be read: {error}") from error

    def save(self, folder: Path) -> None:
        """Write both files; each is replaced whole."""
        settings = {**self.special_tokens, "chat_template": self.chat_template, "tokenizer_class": "PreTrainedTokenizerFast"}
        with replaced_atomically(folder / TOKENIZER) as temporary:
            self.backend_tokenizer.save(str(temporary), pretty=False)
        write_atomically(folder / SETTINGS, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size()

    @cached_property
    def bos_token_id(self) -> int | None:
        return self._id("bos_token")

    @cached_property
    def eos_token_id(self) -> int | None:
        return self._id("eos_token")

    def get_added_vocab(self) -> dict[str, int]:
        """Tokens that stand beside the vocabulary's own, control tokens among them, with their ids."""
        return {token.content: i for i, token in self.backend_tokenizer.get_added_tokens_decoder().items()}

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self.backend_tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def __call__(
        self, text: str | Sequence[str], add_special_tokens: bool = True, return_offsets_mapping: bool = False
    ) -> dict[str, Any]:
        """`input_ids`, and on demand `offset_mapping`, of a text or of each of several."""
        texts = [text] if isinstance(text, str) else list(text)
        encoded = self.backend_tokenizer.encode_batch(texts, add_special_tokens=add_special_tokens)
        found: dict[str, Any] = {"input_ids": [one.ids for one in encoded]}
        if return_offsets_mapping:
            found["offset_mapping"] = [one.offsets for one in encoded]
        return {name: value[0] for name, value in found.items()} if isinstance(text, str) else found

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        text: str = self.backend_tokenizer.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)
        return text

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        lists = [[int(i) for i in ids] for ids in sequences]
        texts: list[str] = self.backend_tokenizer.decode_batch(lists, skip_special_tokens=skip_special_tokens)
        return texts

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        begun: str = "",
    ) -> list[int]:
        """The conversation's token ids, in the form that the model takes (prompt_form.py), and those of what of the answer has
        `begun`. `tools` are in OpenAI's form. Raises ModelError, also where the template does not write the tools.
        """
        if self._template is None:
            if tools:
                raise ModelError("this model has no chat template, so it knows no tools")
            return self.encode(plain_text(messages, add_generation_prompt) + begun)
        if messages and messages[0].get("role") == "system" and self.prompt_form is PromptForm.FOLDED:
            messages = folded(messages)
        text = self._template.render(messages, add_generation_prompt, tools)
        if tools and text == self._template.render(messages, add_generation_prompt):
            raise ModelError("this model's chat template knows no tools")
        return self.encode(text + begun, add_special_tokens=False)

    @cached_property
    def prompt_form(self) -> PromptForm:
        return prompt_form(self._template)

    @cached_property
    def _template(self) -> ChatTemplate | None:
        return None if self.chat_template is None else ChatTemplate(self.chat_template, self.special_tokens)

    def _id(self, name: str) -> int | None:
        token = self.special_tokens.get(name)
        return None if token is None else self.backend_tokenizer.token_to_id(token)


class MidText:
    """Decodes tokens as what stands amid a text. SentencePiece's decoders drop the space before a text's first word, which is a
    part of the indentation where the text goes on from another; behind an anchor token nothing is dropped.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._anchor: int = tokenizer("a", add_special_tokens=False)["input_ids"][-1]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        return self.batch_decode([ids], skip_special_tokens)[0]

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        lists = [[self._anchor], *([self._anchor, *ids] for ids in sequences)]
        anchor, *texts = self._tokenizer.batch_decode(lists, skip_special_tokens=skip_special_tokens)
        return [text[len(anchor) :] for text in texts]
