"""Templates without a system message, that refuse one, that think, and none at all: the prompt says everything in each."""

from __future__ import annotations

import pytest

from guided_gen.engine.models.chat_template import ChatTemplate
from guided_gen.engine.models.prompt_form import PromptForm, folded, plain_text, prompt_form

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
ALTERNATES = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must take turns') }}"
    "{% endif %}{{ m.content }}{% endfor %}"
)
IGNORES = "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}"
FORMS = {
    "its own": (TURNS, PromptForm.OWN),
    "refuses": (REFUSES + TURNS, PromptForm.FOLDED),
    "alternates": (ALTERNATES, PromptForm.FOLDED),
    "ignores": (IGNORES, PromptForm.FOLDED),
    "fails on everything": ("{{ messages[0].content.foo.bar }}", PromptForm.OWN),
}
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}]


@pytest.mark.parametrize(("source", "form"), FORMS.values(), ids=list(FORMS))
def test_how_a_template_takes_a_system_message(source: str, form: PromptForm) -> None:
    assert prompt_form(ChatTemplate(source, {})) is form


def test_no_template_is_a_form_too() -> None:
    assert prompt_form(None) is PromptForm.PLAIN


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (MESSAGES, [{"role": "user", "content": "Be brief.\n\nAdd."}]),
        (MESSAGES[1:], MESSAGES[1:]),
        (MESSAGES[:1], [{"role": "user", "content": "Be brief."}]),
        ([], []),
    ],
)
def test_folding_loses_no_word(messages: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    assert folded(messages) == expected


def test_plain_text_keeps_whose_turn_it_is() -> None:
    chat = [*MESSAGES, {"role": "assistant", "content": "Done."}]
    assert plain_text(chat, False) == "### Instruction:\nBe brief.\n\nAdd.\n\n### Response:\nDone."
    assert plain_text(MESSAGES, True).endswith("Add.\n\n### Response:\n")


@pytest.mark.parametrize("name", ["enable_thinking", "thinking"])
def test_a_template_that_knows_how_is_told_not_to_think(name: str) -> None:
    source = f"<assistant>{{% if {name} is defined and {name} is false %}}<think>\n\n</think>\n\n{{% endif %}}"
    assert ChatTemplate(source, {}).render(MESSAGES, True) == "<assistant><think>\n\n</think>\n\n"


def test_thinking_that_a_template_begins_is_ended() -> None:
    begins = ChatTemplate("{{ messages[0].content }}{% if add_generation_prompt %}<assistant><think>\n{% endif %}", {})
    assert begins.render(MESSAGES, True) == "Be brief.<assistant><think>\n\n</think>\n\n"
    mentioned = [{"role": "user", "content": "What is <think>"}]
    assert begins.render(mentioned, False) == "What is <think>"
