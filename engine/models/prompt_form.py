"""How a model wants to be asked: many chat templates know no system message, some refuse one, some models have no template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from ..errors import ModelError
from .chat_template import ChatTemplate

Messages = Sequence[Mapping[str, Any]]


class PromptForm(StrEnum):
    """In words, as a model card says it."""

    OWN = "the model's own chat template"
    FOLDED = "the model's own chat template, which takes no system message: it stands at the head of the user's turn"
    PLAIN = "a plain template with an instruction and a response, since the model comes without one"


_SYSTEM, _USER = "system-1729", "user-4104"


def prompt_form(template: ChatTemplate | None) -> PromptForm:
    """How to ask a model with this chat template, or with none. One that fails on everything is left to fail where it is used."""
    if template is None:
        return PromptForm.PLAIN
    asked = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
    for form, messages in ((PromptForm.OWN, asked), (PromptForm.FOLDED, folded(asked))):
        try:
            text = template.render(messages, add_generation_prompt=True)
        except ModelError:
            continue
        if _SYSTEM in text and _USER in text:
            return form
    return PromptForm.OWN


def folded(messages: Messages) -> list[Mapping[str, Any]]:
    """The messages with a system message at the beginning put at the head of the user's turn, where both are plain text."""
    if not messages or messages[0].get("role") != "system" or not isinstance(messages[0].get("content"), str):
        return list(messages)
    system, *others = messages
    if not others or others[0].get("role") != "user":
        return [{"role": "user", "content": system["content"]}, *others]
    user = others[0].get("content")
    if not isinstance(user, str):
        return list(messages)
    return [{**others[0], "content": f"{system['content']}\n\n{user}"}, *others[1:]]


def plain_text(messages: Messages, add_generation_prompt: bool) -> str:
    """The conversation as instructions and responses under headings, which models without a template have often read."""
    headings = {"assistant": "### Response:"}
    parts = [f"{headings.get(str(one.get('role')), '### Instruction:')}\n{one.get('content')}" for one in folded(messages)]
    return "\n\n".join([*parts, "### Response:\n"] if add_generation_prompt else parts)
