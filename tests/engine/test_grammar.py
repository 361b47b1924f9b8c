"""Answers held to a schema: all of them are valid, whatever the model would rather say, and its log-probabilities stay true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema_rs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.grammar import GrammarVocabulary
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.loaded_model import LoadedModel
from guided_gen.engine.models.loading import load_model
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.tree import Ended

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "size": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["a", "b"]},
    },
    "required": ["name", "size", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def loaded(tiny_folder: Path) -> LoadedModel:
    return load_model(str(tiny_folder), "float32")


@pytest.fixture(scope="module")
def vocabulary(loaded: LoadedModel) -> GrammarVocabulary:
    return GrammarVocabulary(loaded.tokenizer.backend_tokenizer, loaded.stop_ids, loaded.language_model.vocabulary_size)


def searched(loaded: LoadedModel, sampling: Sampling, **changes: Any) -> Search:
    settings = SearchSettings(n=8, max_new_tokens=120, sampling=sampling, stop_ids=loaded.stop_ids, **changes)
    search = Search(loaded.language_model, Prompt(loaded.tokenizer.encode("An object:")), settings)
    run(loaded.language_model, [search])
    return search


def texts(loaded: LoadedModel, search: Search, *ended: Ended) -> list[str]:
    return [loaded.tokenizer.decode(search.tree.tokens(leaf), skip_special_tokens=True) for leaf in search.leaves(*ended)]


@pytest.mark.parametrize("policy", ["best-of-n", "beam:width=3", "forking-search", "mcts:simulations=6"])
def test_every_complete_answer_is_valid(loaded: LoadedModel, vocabulary: GrammarVocabulary, policy: str) -> None:
    search = searched(loaded, Sampling(0.8, 1.0, grammar=vocabulary.json(SCHEMA)), policy=policy, check_every=4, budget=900)
    complete = texts(loaded, search, Ended.EOS)
    assert complete
    for text in complete:
        jsonschema_rs.validate(SCHEMA, json.loads(text))


def test_greedy_answers_are_valid_too(loaded: LoadedModel, vocabulary: GrammarVocabulary) -> None:
    search = searched(loaded, Sampling(0, grammar=vocabulary.json(SCHEMA)))
    for text in texts(loaded, search, Ended.EOS):
        jsonschema_rs.validate(SCHEMA, json.loads(text))
    assert texts(loaded, search, Ended.EOS, Ended.LENGTH)[0].startswith("{")


def test_the_models_log_probabilities_are_those_without_the_grammar(loaded: LoadedModel, vocabulary: GrammarVocabulary) -> None:
    tree = searched(loaded, Sampling(0.8, grammar=vocabulary.json(SCHEMA))).tree
    prompt = loaded.tokenizer.encode("An object:")
    for leaf in tree.rollouts.leaf[:3].tolist():
        path = tree.path(leaf)
        read = loaded.language_model.logprobs(prompt, tree.nodes.token_id[path].tolist())
        np.testing.assert_allclose(tree.nodes.logprob[path], read, atol=1e-4)
        assert (tree.nodes.sample_logprob[path] >= tree.nodes.logprob[path] - 1e-4).all()  # less to choose from


def test_searches_with_and_without_a_grammar_share_a_batch(loaded: LoadedModel, vocabulary: GrammarVocabulary) -> None:
    model, prompt = loaded.language_model, Prompt(loaded.tokenizer.encode("An object:"))
    samplings = [Sampling(0.8, grammar=vocabulary.json(SCHEMA)), Sampling(0.8), Sampling(0.8, presence_penalty=1)]
    both = [
        Search(model, prompt, SearchSettings(n=3, max_new_tokens=30, sampling=one, stop_ids=loaded.stop_ids)) for one in samplings
    ]
    run(model, both)
    for sampling, search in zip(samplings, both, strict=True):
        alone = Search(model, prompt, search.settings)
        run(model, [alone])
        assert alone.tree == search.tree, sampling


def test_bias_and_penalties_change_what_is_drawn_and_nothing_else(loaded: LoadedModel) -> None:
    forced = searched(loaded, Sampling(0, bias=((65, 100.0),))).tree
    assert set(forced.nodes.token_id.tolist()) == {65}
    read = loaded.language_model.logprobs(loaded.tokenizer.encode("An object:"), forced.nodes.token_id.tolist())
    np.testing.assert_allclose(forced.nodes.logprob, read, atol=1e-4)
    no_end = tuple((end, -100.0) for end in loaded.stop_ids)
    for penalised in (Sampling(0, presence_penalty=100.0, bias=no_end), Sampling(0, frequency_penalty=100.0, bias=no_end)):
        tree = searched(loaded, penalised).tree
        ids = tree.tokens(int(tree.rollouts.leaf[0])).tolist()
        assert len(ids) == len(set(ids)) > 10
    with pytest.raises(SettingsError, match="vocabulary"):
        searched(loaded, Sampling(bias=((1 << 20, 1.0),)))


def test_alternatives_are_the_models_most_likely_tokens(loaded: LoadedModel) -> None:
    tree = searched(loaded, Sampling(0, alternatives=5)).tree
    path = tree.path(int(tree.rollouts.leaf[0]))
    for node in path.tolist():
        tokens, logprobs = tree.alternatives[int(tree.nodes.parent[node])]
        assert len(tokens) == 5 and (np.diff(logprobs) <= 0).all()
        assert tokens[0] == tree.nodes.token_id[node] and logprobs[0] == pytest.approx(tree.nodes.logprob[node])


def test_what_cannot_be_held_is_refused(vocabulary: GrammarVocabulary) -> None:
    for schema in ({"type": "nothing"}, {"$ref": "https://example.com/schema"}, {"type": "string", "pattern": "(?<=a)b"}):
        with pytest.raises(SettingsError, match="schema"):
            vocabulary.json(schema)
    with pytest.raises(SettingsError, match="characters"):
        vocabulary.json({"enum": ["x" * 200_000]})


KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "required", "items", "prefixItems", "oneOf", "anyOf", "allOf", "discriminator", "propertyName"),
        *("$ref", "$defs", "enum", "const", "format", "pattern", "maximum", "multipleOf", "maxLength", "minItems", "not", "a"),
        *("additionalProperties", "patternProperties", "if", "then", "default"),
    ]
)
WORDS = ["object", "string", "integer", "array", "time", "a"]
WORDS += ["#", "#/$defs/a", "#/properties/a", "^a*$", "(", "a{99999}", "\ud800"]
PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYWORDS, inner, max_size=5),
)


@given(PARTS | st.dictionaries(KEYWORDS, PARTS, max_size=5))
def test_whatever_a_schema_holds_it_is_a_grammar_or_refused(vocabulary: GrammarVocabulary, schema: Any) -> None:
    for made in (vocabulary.json, lambda schema: vocabulary.one_of([("a", schema, ""), ("", True, "b")])):
        try:
            grammar = made(schema)
            grammar.allowed(grammar.begin())
        except SettingsError as error:
            assert "\n" not in str(error)


def test_a_model_of_fewer_tokens_than_its_tokenizer_has_is_told(loaded: LoadedModel) -> None:
    with pytest.raises(SettingsError, match="cannot be held to a schema"):
        GrammarVocabulary(loaded.tokenizer.backend_tokenizer, loaded.stop_ids, 4)


def test_min_p_drops_what_is_unlikely() -> None:
    from guided_gen.engine.sampling import distributions

    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    found = distributions(logits, Sampling(1.0, 1.0, min_p=0.4))
    assert np.diff(found.cumulative, prepend=0)[0][:2] == pytest.approx([0.625, 0.375]) and found.cumulative[0][1] == 1


def takes(vocabulary: GrammarVocabulary, loaded: LoadedModel, schema: dict[str, Any], value: Any) -> bool:
    """Whether an answer may be this value."""
    grammar = vocabulary.json(schema)
    ids = loaded.tokenizer.encode(json.dumps(value), add_special_tokens=False)
    matcher = grammar.begin()
    return bool(matcher.validate_tokens(ids) == len(ids) and matcher.consume_tokens(ids) and matcher.is_accepting())


class Leaf(BaseModel):
    kind: Literal["leaf", "bud"] = "leaf"
    size: int


class Branch(BaseModel):
    kind: Literal["branch"] = "branch"
    inner: Annotated[Leaf | Branch, Field(discriminator="kind")]


def test_discriminated_unions_are_held_also_recursive_ones(vocabulary: GrammarVocabulary, loaded: LoadedModel) -> None:
    """Pydantic's: `oneOf`, with tags that have a default and so need not be there, though only they tell the classes apart."""
    schema = Branch.model_json_schema()
    leaf = {"kind": "bud", "size": 3}
    assert takes(vocabulary, loaded, schema, {"kind": "branch", "inner": {"kind": "branch", "inner": leaf}})
    for inner in ({"size": 3}, {"kind": "branch", "size": 3}, {"kind": "root", "size": 3}):
        assert not takes(vocabulary, loaded, schema, {"kind": "branch", "inner": inner})
    assert schema == Branch.model_json_schema()  # what a client sent is left as it is


def test_one_of_is_held_where_no_answer_is_two_of_it(vocabulary: GrammarVocabulary, loaded: LoadedModel) -> None:
    apart = {"oneOf": [{"type": "integer"}, {"type": "string"}]}
    assert takes(vocabulary, loaded, apart, 3) and not takes(vocabulary, loaded, apart, None)
    with pytest.raises(SettingsError, match="discriminator"):
        vocabulary.json({"oneOf": [{"type": "integer"}, {"type": "number"}]})


@pytest.mark.parametrize(("form", "day"), [("time", ""), ("date-time", "2024-02-29T")])
def test_times_have_no_leap_seconds(vocabulary: GrammarVocabulary, loaded: LoadedModel, form: str, day: str) -> None:
    schema = {"type": "object", "properties": {"format": {"type": "string", "format": form}}, "required": ["format"]}
    assert takes(vocabulary, loaded, schema, {"format": f"{day}12:00:59.5+01:00"})
    assert not takes(vocabulary, loaded, schema, {"format": f"{day}12:00:60Z"})
