"""A reader beside a generator: its log-probabilities are those of one pass over each answer, whatever the search did."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from guided_gen.engine.errors import ContextError, SettingsError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.scorers import log_ratio, mean_logprob, reader
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.torch_backend.reader import ReadModel, TorchReader, check_same_tokens
from guided_gen.engine.tree import ROOT, Tree

from ...valuemodel.made_up import tiny_base

PROMPT = [5, 9, 2, 7]


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """A generator, and a reader of other depth."""
    torch.manual_seed(1)
    return tiny_base("qwen2", layers=2), tiny_base("llama", layers=3)


def read_model(models: tuple[Any, Any]) -> ReadModel:
    generator, larger = models
    return ReadModel(TorchLanguageModel(generator), TorchReader(larger))


def expected(larger: Any, tree: Tree, leaf: int) -> np.ndarray:
    """The log-probabilities of the answer that ends at `leaf`, by a model of its own."""
    return TorchLanguageModel(larger).logprobs(PROMPT, tree.tokens(leaf).tolist())


@pytest.mark.parametrize("policy", ["best-of-n", "beam:width=2", "mcts", "forking-search"])
def test_every_candidate_is_read_as_by_the_reader_alone(models: tuple[Any, Any], policy: str) -> None:
    settings = SearchSettings(
        n=4, max_new_tokens=14, sampling=Sampling(1.5), policy=policy, check_every=4, scorer="log-ratio", budget=120, seed=3
    )
    model = read_model(models)
    search = Search(model, Prompt(PROMPT), settings)
    run(model, [search])
    tree = search.tree
    for leaf in tree.rollouts.leaf.tolist():
        known = expected(models[1], tree, leaf)
        assert tree.nodes.reader_logprob[tree.path(leaf)] == pytest.approx(known, abs=2e-5)
        assert reader(tree)[leaf] == pytest.approx(known.mean(), abs=2e-5)
        assert log_ratio(tree)[leaf] == pytest.approx(known.mean() - mean_logprob(tree)[leaf], abs=2e-5)


def test_each_token_is_read_once_and_one_that_was_freed_can_be_read_below(models: tuple[Any, Any]) -> None:
    model = read_model(models)
    session = model.open(Prompt(PROMPT), Sampling(1.0), 0)
    leaves = np.full(3, ROOT)
    for _ in range(5):
        (leaves,) = model.advance([Growth(session, leaves, np.arange(3), 1)])
    model.read([(session, leaves)])
    passes = model.statistics.passes
    model.read([(session, leaves)])
    assert model.statistics.passes == passes
    first = session.tree.nodes.reader_logprob.copy()
    model.keep(session, leaves[:1])
    (grown,) = model.advance([Growth(session, leaves, np.arange(3), 1)])
    model.read([(session, grown)])
    assert session.tree.nodes.reader_logprob[: len(first)] == pytest.approx(first, nan_ok=True, abs=0)
    for leaf in grown.tolist():
        assert session.tree.nodes.reader_logprob[session.tree.path(leaf)] == pytest.approx(
            expected(models[1], session.tree, leaf), abs=2e-5
        )
    model.close(session)
    assert model.statistics.cached_tokens == 0


def test_a_readers_numbers_are_stored_and_trees_without_them_are_as_before(models: tuple[Any, Any], tmp_path: Any) -> None:
    model = read_model(models)
    search = Search(model, Prompt(PROMPT), SearchSettings(n=2, max_new_tokens=6, check_every=2))
    run(model, [search])
    search.tree.save(tmp_path / "tree.parquet")
    assert Tree.load(tmp_path / "tree.parquet") == search.tree
    row = Tree.below(PROMPT).to_row()
    assert row["nodes.reader_logprob"] is None
    del row["nodes.reader_logprob"]  # as in files of before there were readers
    assert Tree.from_row(row) == Tree.below(PROMPT)


def test_the_shorter_context_counts(models: tuple[Any, Any]) -> None:
    generator, _ = models
    model = ReadModel(TorchLanguageModel(generator), TorchReader(tiny_base("qwen2", context=8)))
    assert model.max_length == 8
    with pytest.raises(ContextError):
        model.open(Prompt(list(range(9))), Sampling(), 0)


def test_other_tokens_cannot_be_read() -> None:
    class Named:
        def __init__(self, tokens: str) -> None:
            self.backend_tokenizer, self._tokens = self, tokens

        def to_str(self) -> str:
            return self._tokens

    check_same_tokens(Named("a"), Named("a"), "larger")
    with pytest.raises(SettingsError, match="larger cannot read this model's answers: it has other tokens"):
        check_same_tokens(Named("a"), Named("b"), "larger")
