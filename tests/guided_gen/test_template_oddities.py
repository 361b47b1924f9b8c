"""Every covered family, with every kind of chat template that models come with, answers or says in one sentence why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guided_gen import GuidedGenerator
from guided_gen.engine.errors import GuidedGenError
from guided_gen.engine.models.float_models import FLOAT_FAMILIES
from guided_gen.engine.models.loaded_model import LoadedModel
from guided_gen.engine.models.loading import load_model
from guided_gen.engine.models.prompt_form import PromptForm
from guided_gen.engine.models.tokenizer import Tokenizer

from ..conftest import CHAT_TEMPLATE
from ..engine.test_families import tiny

PROBLEM = "Halve a number.\n\nhalve(4) == 2\nhalve(0) == 0\n"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHAT_TEMPLATE
TURNS = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('turns, please') }}"
    "{% endif %}[{{ m['content'] }}]{% endfor %}"
)
ANSWERED = {
    "its own": (CHAT_TEMPLATE, PromptForm.OWN),
    "no system role": (NO_SYSTEM, PromptForm.FOLDED),
    "turns": (TURNS, PromptForm.FOLDED),
    "the system message ignored": ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", PromptForm.FOLDED),
    "absent": (None, PromptForm.PLAIN),
    "thinking begun": (CHAT_TEMPLATE + "{% if add_generation_prompt %}<think>\n{% endif %}", PromptForm.OWN),
}
TOLD = {
    "broken": ("{% for m in messages %}{{ m.content }", "template fails"),
    "undefined": ("{{ messages[1]['content'].foo.bar }}", "has no attribute 'foo'"),
    "refuses everything": ("{{ raise_exception('not today') }}", "not today"),
}


@pytest.fixture(scope="module", params=FLOAT_FAMILIES)
def family(request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.mktemp(request.param)
    tiny(request.param, max_position_embeddings=2048, eos_token_id=257, sliding_window=None).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((tiny_folder / name).read_bytes())
    return load_model(str(folder), "float32")


def asked(loaded: LoadedModel, template: str | None) -> GuidedGenerator:
    own = loaded.tokenizer
    return GuidedGenerator(replace(loaded, tokenizer=Tokenizer(own.backend_tokenizer, own.special_tokens, template)))


@pytest.mark.parametrize(("template", "form"), ANSWERED.values(), ids=list(ANSWERED))
def test_it_answers(family: LoadedModel, template: str | None, form: PromptForm) -> None:
    generator = asked(family, template)
    solution = generator.solve(PROBLEM, n=1, max_new_tokens=3)
    assert len(solution.candidates) == 1
    tokenizer = generator.loaded.tokenizer
    assert tokenizer.prompt_form is form
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": PROBLEM}]
    text = tokenizer.decode(tokenizer.apply_chat_template(messages, add_generation_prompt=True))
    assert "Be brief." in text and PROBLEM in text
    assert not text.rstrip().endswith("<think>")


@pytest.mark.parametrize(("template", "sentence"), TOLD.values(), ids=list(TOLD))
def test_it_says_why_not(family: LoadedModel, template: str, sentence: str) -> None:
    with pytest.raises(GuidedGenError, match=sentence) as caught:
        asked(family, template).solve(PROBLEM, n=1, max_new_tokens=3)
    assert "\n" not in str(caught.value)
