"""Prompts say what to write, in the model's own chat template, whole or not at all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from guided_gen.data_builder.problems.problem import Problem
from guided_gen.data_builder.problems.prompts import (
    CODE,
    PLAN,
    TEMPLATES,
    prompt_ids,
    prompt_messages,
    template_named,
)
from guided_gen.engine.errors import ContextError, GuidedGenError

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
STATEMENT = "Add one to {x} and print {{y}}, 100%."


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer of single bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=CHAT)


def user_message(template=CODE, **fields) -> str:
    system, user = prompt_messages(Problem("p/1", STATEMENT, "p", **fields), template)
    assert (system["role"], user["role"]) == ("system", "user")
    return user["content"]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_the_statement_is_in_every_prompt_as_it_is(template):
    assert user_message(template).startswith(STATEMENT)
    assert "```python" in user_message(template)


def test_each_interface_is_asked_for_in_its_own_words():
    program = user_message()
    assert "standard input" in program
    function = user_message(entry_point="add_one")
    assert "`add_one`" in function
    starter = user_message(entry_point="add_one", starter_code="def add_one(x: dict = {}):\n\t")
    assert "```python\ndef add_one(x: dict = {}):\n```" in starter
    method = user_message(entry_point="addOne", starter_code="class Solution:\n    def addOne(self, x):\n        ")
    assert "method `addOne`" in method
    assert "class Solution:\n    def addOne(self, x):\n```" in method
    assert "n = int(input())" in user_message(starter_code="n = int(input())")
    for call_based in (function, starter, method):
        assert "standard input" not in call_based
        assert "Return" in call_based


def test_only_the_plan_template_asks_for_a_plan():
    assert "plan" in user_message(PLAN)
    assert "plan" not in user_message(CODE)


def test_a_templates_hash_changes_with_its_words_alone():
    assert PLAN.hash != CODE.hash
    assert replace(CODE, name="other").hash == CODE.hash
    for field in ("system", "user", "function", "method_with_starter", "program_with_starter"):
        assert replace(CODE, **{field: getattr(CODE, field) + "."}).hash != CODE.hash


def test_templates_are_found_by_name():
    assert template_named("plan") is PLAN
    with pytest.raises(GuidedGenError, match="plan, code"):
        template_named("plam")


@given(statement=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50))
def test_the_ids_are_those_of_the_whole_chat_up_to_the_assistants_turn(tokenizer, statement):
    problem = Problem("p/1", statement, "p")
    system, user = prompt_messages(problem, PLAN)
    text = tokenizer.decode(prompt_ids(tokenizer, problem, PLAN))
    assert text == f"<system>{system['content']}<user>{user['content']}<assistant>"


def test_a_prompt_fits_or_is_an_error_never_cut(tokenizer):
    problem = Problem("p/1", "x" * 1000, "p")
    ids = prompt_ids(tokenizer, problem, CODE)
    assert prompt_ids(tokenizer, problem, CODE, max_tokens=len(ids)) == ids
    with pytest.raises(ContextError, match=rf"p/1 has {len(ids)} tokens, but only {len(ids) - 1} fit"):
        prompt_ids(tokenizer, problem, CODE, max_tokens=len(ids) - 1)
