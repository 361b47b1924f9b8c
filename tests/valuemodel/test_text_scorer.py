"""A base with another tokenizer reads the text: values are those of one pass over it all, and only new tokens are computed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.engine.errors import SettingsError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.question import Continuation
from guided_gen.scoring import read_text, score_text
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.text_scorer import TextScoredModel, Translation, ValueReader, translated_tree

from ..engine.made_up import MadeUpModel
from .made_up import packed_values, tiny_base, trained

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_tokenizer(merges: list[tuple[str, str]]) -> Any:
    """Bytes, with `merges` of them, and an end token."""
    vocabulary = {character: i for i, character in enumerate([*BYTES, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


GENERATOR = byte_tokenizer([("a", "b"), ("Ġ", "c")])
BASE = byte_tokenizer([("b", "a"), ("a", "a"), ("ba", "Ġ"), ("aa", "aa")])
TRANSLATION = Translation(GENERATOR, frozenset({GENERATOR.eos_token_id}), BASE)
texts = st.text(st.sampled_from("ab cé€𝄞"), max_size=20)


@given(texts)
def test_a_whole_answer_is_translated_as_its_text_is_encoded(text: str) -> None:
    ids = GENERATOR(text)["input_ids"]
    translated = TRANSLATION([*ids, GENERATOR.eos_token_id])
    assert translated.ids == [*BASE(text)["input_ids"], BASE.eos_token_id]
    assert translated.read[-1] == len(ids) + 1


@given(texts, st.integers(0, 60))
def test_of_a_beginning_the_whole_characters_are_translated(text: str, cut: int) -> None:
    """After each character, the generator's tokens that are complete are counted, never one that reaches beyond."""
    ids = GENERATOR(text)["input_ids"][:cut]
    translated = TRANSLATION(ids)
    whole = GENERATOR.decode(ids).rstrip("\ufffd")
    assert translated.ids == BASE(whole)["input_ids"]
    assert (np.diff(translated.read) >= 0).all()
    for count, read in enumerate(translated.read.tolist(), 1):
        if count < len(translated.ids) and translated.read[count] == read:
            continue  # within a character, perhaps
        seen = BASE.decode(translated.ids[:count]).rstrip("\ufffd")
        assert len(GENERATOR.decode(ids[:read]).rstrip("\ufffd")) <= len(seen)
        if read < len(ids):
            assert len(GENERATOR.decode(ids[: read + 1]).rstrip("\ufffd")) > len(seen)


def test_equal_tokenizers_pass_ids_on() -> None:
    same = Translation(GENERATOR, frozenset(), byte_tokenizer([("a", "b"), ("Ġ", "c")]))
    odd = [5, 3, 256, 5]  # not what encoding their text gives
    assert not same.changes_ids and same(odd).ids == odd and TRANSLATION.changes_ids


def test_a_translated_tree_keeps_rollouts_verdicts_and_log_probabilities() -> None:
    tree = Tree.below([1, 2])
    for stream, (text, verdict) in enumerate([("abba aaaa", "passed"), ("abba b", "wrong_answer"), ("aaaa", "wrong_answer")]):
        node = ROOT
        for token in [*GENERATOR(text)["input_ids"], GENERATOR.eos_token_id]:
            node = tree.add_node(node, token, logprob=-0.1 - 0.01 * token)
        row = tree.add_rollout(node, ROOT, Ended.EOS, stream, multiplicity=stream + 1)
        tree.verdicts[row] = verdict
    other = translated_tree(tree, [7, 7, 7], TRANSLATION)
    assert other.prompt_length == 3 and other.verdicts == tree.verdicts
    assert other.rollouts.multiplicity.tolist() == [1, 2, 3]
    for leaf, own in zip(tree.rollouts.leaf.tolist(), other.rollouts.leaf.tolist(), strict=True):
        assert BASE.decode(other.tokens(own)) == GENERATOR.decode(tree.tokens(leaf))
        assert other.logprob_sum_to(own) == pytest.approx(tree.logprob_sum_to(leaf), rel=1e-5)


@pytest.fixture
def scored() -> tuple[TextScoredModel, ValueReader, ValueModel, Any]:
    """A tiny Llama writes, the value model on a tiny Qwen3 reads."""
    writer = tiny_base("llama", layers=2, vocabulary=94)  # the printable ASCII characters
    base = tiny_base("qwen3", layers=2, vocabulary=300)
    model = trained(ValueModel.from_base(base, 1, HeadSettings(("last", "mean", "logprob"))))
    reader = ValueReader(copy.deepcopy(base), copy.deepcopy(model).engine_tail(torch.float32, "cpu"))
    combined = TextScoredModel(TorchLanguageModel(writer), reader, TRANSLATION)
    return combined, reader, model, base


def test_values_equal_one_pass_over_the_whole_text(scored: tuple[TextScoredModel, ValueReader, ValueModel, Any]) -> None:
    model, _, value_model, base = scored
    search = Search(
        model, Prompt([1, 2, 3], [9, 8]), SearchSettings(n=6, max_new_tokens=30, check_every=4, sampling=Sampling(1.0, 1.0))
    )
    run(model, [search])
    for leaf in search.tree.rollouts.leaf.tolist():
        alone = Tree.below([1, 2, 3])
        for node in search.tree.path(leaf).tolist():
            alone.add_node(len(alone) - 1, int(search.tree.nodes.token_id[node]), logprob=search.tree.nodes.logprob[node])
        alone.add_rollout(len(alone) - 1, ROOT, Ended.LENGTH, 0)
        translated = translated_tree(alone, [9, 8], TRANSLATION)
        expected = packed_values(value_model, base, translated, [9, 8])
        assert search.tree.nodes.value[leaf] == pytest.approx(expected[translated.rollouts.leaf[0]], abs=1e-5)


def test_only_new_tokens_are_read_again(scored: tuple[TextScoredModel, ValueReader, ValueModel, Any]) -> None:
    model, reader, _, _ = scored
    session = model.open(Prompt([1, 2, 3], [9, 8]), Sampling(1.0, 1.0), 0, frozenset())
    leaves = np.full(3, ROOT)
    read: list[int] = []
    forward = reader._forward
    reader._forward = lambda rows: (read.append(len(rows)), forward(rows))[1]  # type: ignore[method-assign,assignment]
    for _ in range(5):
        for _ in range(8):
            leaves = model.advance([Growth(session, leaves, np.arange(3), 1)])[0]
        before = sum(read)
        model.read([(session, leaves)])
        assert 0 < sum(read) - before <= 3 * (8 + 4)  # what is new, and the tokens that the new text joined to what was there
    model.keep(session, leaves[:1])
    assert reader.statistics.cached_tokens <= 40
    model.close(session)
    assert model.statistics.cached_tokens == 0


def test_a_prompt_without_its_form_for_the_base_is_refused(
    scored: tuple[TextScoredModel, ValueReader, ValueModel, Any],
) -> None:
    with pytest.raises(SettingsError):
        scored[0].open(Prompt([4, 5]), Sampling(), 0, frozenset())


def test_a_reader_computes_no_logits(scored: tuple[TextScoredModel, ValueReader, ValueModel, Any]) -> None:
    model, reader, _, _ = scored
    reader._model.lm_head = None
    search = Search(model, Prompt([1, 2, 3], [9, 8]), SearchSettings(n=2, max_new_tokens=8, check_every=4))
    run(model, [search])
    assert not np.isnan(search.tree.nodes.value[search.tree.rollouts.leaf]).any()


def test_prompts_that_are_held_change_no_value(scored: tuple[TextScoredModel, ValueReader, ValueModel, Any]) -> None:
    model, reader, _, _ = scored
    model.hold_prefixes(1 << 20)
    settings = SearchSettings(n=3, max_new_tokens=20, check_every=4, sampling=Sampling(1.0, 1.0))
    values = []
    for _ in range(2):
        search = Search(model, Prompt([1, 2, 3], [9, 8]), settings)
        run(model, [search])
        model.hold(search.session, int(search.tree.rollouts.leaf[0]))
        model.close(search.session)
        values.append(search.tree.nodes.value[search.tree.rollouts.leaf])
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)
    assert len(reader.prefixes) == 1 and reader.statistics.cached_tokens == 0


def test_answers_are_read_where_the_generator_reads_them(scored: tuple[TextScoredModel, ValueReader, ValueModel, Any]) -> None:
    model, reader, _, _ = scored
    np.testing.assert_array_equal(model.logprobs([1, 2, 3], [4, 5]), model.generator.logprobs([1, 2, 3], [4, 5]))
    only_writes = TextScoredModel(MadeUpModel(vocabulary=94), reader, TRANSLATION)  # as a model over vLLM
    with pytest.raises(SettingsError, match="did not write"):
        score_text(only_writes, read_text(only_writes, GENERATOR, DEFAULT_TEMPLATE, Continuation("Say."), "abba"))
