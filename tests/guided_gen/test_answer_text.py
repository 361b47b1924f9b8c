"""What a SentencePiece tokenizer decodes keeps its indentation where it goes on with a text, whole and in parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers

from guided_gen import scoring
from guided_gen.answer_text import AnswerText, SettledText
from guided_gen.engine.models.tokenizer import MidText, Tokenizer
from guided_gen.engine.tree import ROOT, Tree
from guided_gen.search_page_data import NodeTexts
from guided_gen.value_data import answer_reader
from guided_gen.valuemodel.packing import PromptedTree

PIECES = [*(f"<0x{byte:02X}>" for byte in range(256)), *"abdefiklnoprtuwy():", "▁", "▁▁", "▁▁▁", "▁▁▁▁"]
MERGES = [("▁", "▁"), ("▁▁", "▁"), ("▁▁", "▁▁")]
LINES = ["    if a:\n        del b\n", " a", "a", "", "\n   a", "\té 🙂  ", "   "]


def llama(backend: Backend) -> None:
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    backend.decoder = decoders.Sequence(parts)


def metaspace(backend: Backend) -> None:
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always", split=False)])


def made(kind: Any) -> Tokenizer:
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "</s>", *PIECES])}
    backend = Backend(models.BPE(vocabulary, MERGES, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.add_special_tokens(["</s>"])
    kind(backend)
    return Tokenizer(backend, {"eos_token": "</s>"}, None)


TOKENIZERS = {kind.__name__: made(kind) for kind in (llama, metaspace)}


def behind(tokenizer: Tokenizer, start: str, text: str) -> Tree:
    """A tree below `start` with one answer: the tokens of `text` as they follow there."""
    prompt = tokenizer.encode(start)
    whole = tokenizer.encode(start + text)
    assert whole[: len(prompt)] == prompt
    tree, node = Tree.below(prompt), ROOT
    for token in whole[len(prompt) :]:
        node = tree.add_node(node, token, logprob=-1.0)
    return tree


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("text", LINES)
def test_a_continuation_keeps_its_indentation(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    tree = behind(tokenizer, "def f(a):\n", text)
    answers = AnswerText(tokenizer, goes_on=True)
    assert answers.whole(tree, len(tree) - 1) == text
    assert "".join(NodeTexts(tokenizer).extend(tree.nodes.parent.tolist(), tree.nodes.token_id.tolist())) == text
    assert AnswerText(tokenizer, ["b"], goes_on=True).whole(tree, len(tree) - 1) == text.split("b")[0]


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text("a b\n\té🙂", max_size=12))
def test_parts_that_are_streamed_make_up_the_text(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    tree = behind(tokenizer, "def f(a):\n", text)
    answers = AnswerText(tokenizer, goes_on=True)
    settled = SettledText(answers)
    parts = [settled.rest(answers.certain(tree, node)) for node in range(len(tree))]
    parts.append(settled.rest(answers.whole(tree, len(tree) - 1)))
    assert "".join(parts) == text


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_text_of_its_own_begins_with_its_first_word(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    tree, node = Tree.below(tokenizer.encode("a")), ROOT
    for token in [*tokenizer.encode("if a:\n  b"), tokenizer.eos_token_id]:
        assert token is not None
        node = tree.add_node(node, token, logprob=-1.0)
    assert AnswerText(tokenizer).whole(tree, node) == "if a:\n  b"
    assert MidText(tokenizer).decode(tree.tokens(node).tolist()) == " if a:\n  b</s>"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_first_byte_of_a_character_leaves_the_line_end_before_it(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    tree = behind(tokenizer, "a", "\n\n🙂")
    answers = AnswerText(tokenizer, goes_on=True)
    certain = [answers.certain(tree, node) for node in range(len(tree))]
    assert certain == ["\n", "\n\n", "\n\n", "\n\n", "\n\n", "\n\n🙂"]
    assert answers.whole(tree, 3) == "\n\n\ufffd"


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text("a b\n\té🙂", min_size=1, max_size=12))
def test_a_text_that_is_scored_has_the_tokens_that_it_has_behind_another(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids, offsets = scoring._as_rest(tokenizer, text)
    prompt = tokenizer.encode("def f(a):\n")
    assert [*prompt, *ids] == tokenizer.encode("def f(a):\n" + text)
    assert "".join(scoring._pieces(text, offsets)) == text and len(offsets) == len(ids)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(text=st.text("a b\n\té🙂", min_size=1, max_size=12).filter(lambda text: text[0] != " "))
def test_a_text_of_its_own_is_scored_as_the_answer_that_it_decodes_to(kind: str, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids, offsets = scoring._tokens(tokenizer, text)
    assert tokenizer.decode(ids) == text and "".join(scoring._pieces(text, offsets)) == text


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_program_of_an_answer_is_found_among_its_tokens(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    program = "def f(a):\n    del b  # é🙂"
    prompt = tuple(tokenizer.encode("a"))
    tree, node = Tree.below(prompt), ROOT
    for token in tokenizer.encode(f"```\n{program}\n```"):
        node = tree.add_node(node, token, logprob=-1.0)
    answer = answer_reader(tokenizer)(PromptedTree(tree, prompt, "made/1"), node)
    assert answer.code is not None and "".join(answer.pieces[slice(*answer.code)]).strip() == program
