"""A tokenizer for a server whose tokens nobody tells: the pieces of text in which its answers come, numbered as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import SettingsError

END, CHAT = 0, 1  # the end of an answer, and what a chat's prompt begins with; no text
_WORD = re.compile(r"\s?\w+|\W")


class PieceTokenizer:
    """What the search needs of a tokenizer. Prompts, which are sent as text, are counted in words."""

    def __init__(self, pieces: Sequence[str] = ("", "")) -> None:
        self.pieces = list(pieces)
        self._ids = {piece: i for i, piece in enumerate(self.pieces) if i > CHAT}

    def __len__(self) -> int:
        return len(self.pieces)

    def piece_id(self, piece: str) -> int:
        """The number of a piece, a new one if it is new."""
        found = self._ids.setdefault(piece, len(self.pieces))
        if found == len(self.pieces):
            self.pieces.append(piece)
        return found

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [self.piece_id(word) for word in _WORD.findall(text)]

    def __call__(self, text: str, add_special_tokens: bool = True, return_offsets_mapping: bool = False) -> dict[str, Any]:
        """Raises SettingsError where tokens of a text are asked for that came from nowhere."""
        if return_offsets_mapping:
            raise SettingsError("another server is asked for answers: a text that it did not write needs a model that runs here")
        return {"input_ids": self.encode(text)}

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        return "".join(self.pieces[i] for i in ids)

    def batch_decode(self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False) -> list[str]:
        return [self.decode(ids) for ids in sequences]

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
        begun: str = "",
    ) -> list[int]:
        """Raises SettingsError where an answer is to call tools, or is begun already."""
        if tools or begun:
            what = "calls of tools" if tools else "the rest of a begun answer"
            raise SettingsError(f"another server is asked for whole answers in text: {what} need a model that runs here")
        return [CHAT, *self.encode(json.dumps(list(messages)))]

    def messages(self, prompt_ids: Sequence[int]) -> list[dict[str, Any]] | None:
        """Those of a chat's prompt, None where it is none."""
        if not prompt_ids or prompt_ids[0] != CHAT:
            return None
        found: list[dict[str, Any]] = json.loads(self.decode(prompt_ids))
        return found
