"""The tree-cached torch model against transformers' own, uncached or by `generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.errors import ContextError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.models.loading import load_cpu_model, load_weights
from guided_gen.engine.policies import Beam
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, advance_round, run
from guided_gen.engine.torch_backend import kv_cache
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Tree

from ..tiny_models import ARCHITECTURES, tiny_model

PROMPT = [5, 7, 9, 11, 4]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> Any:
    return tiny_model(request.param)


def reference_logprobs(architecture_model: Any, prompt: list[int], tokens: np.ndarray) -> np.ndarray:
    """Log-probabilities [len(tokens)] by one uncached pass of transformers' own attention over the whole sequence."""
    plain = type(architecture_model)(architecture_model.config)
    plain.load_state_dict(architecture_model.state_dict())
    plain.eval().set_attn_implementation("eager")
    ids = torch.tensor([prompt + tokens.tolist()])
    with torch.no_grad():
        logprobs = torch.log_softmax(plain(ids).logits[0], dim=-1)
    return logprobs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0].numpy()


def test_one_greedy_candidate_equals_generate(model: Any) -> None:
    model.set_attn_implementation("eager")
    expected = model.generate(torch.tensor([PROMPT]), max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0)
    engine = TorchLanguageModel(model)
    search = Search(engine, Prompt(PROMPT), SearchSettings(n=1, max_new_tokens=40, sampling=Sampling(0)))
    run(engine, [search])
    assert search.tree.tokens(search.tree.rollouts.leaf[0]).tolist() == expected[0, len(PROMPT) :].tolist()


@pytest.mark.parametrize("apart", [False, True])
def test_logprobs_equal_an_uncached_pass_for_forked_pruned_and_mixed_searches(
    model: Any, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if apart:  # without kernels, and paths of unlike length are attended to apart from 4 tokens on
        monkeypatch.setattr(kernels, "compute", lambda tensor: False)
        monkeypatch.setattr(kv_cache, "_SHORT", 4)
    engine = TorchLanguageModel(model)
    prompts = [[seed, *PROMPT] for seed in range(3)]
    settings = [SearchSettings(n=9, max_new_tokens=30, policy=Beam(2), check_every=4, seed=seed) for seed in range(3)]
    searches = [Search(engine, Prompt(prompt), setting) for prompt, setting in zip(prompts, settings, strict=True)]
    for search in searches:  # they begin one after the other, so that their paths differ in length
        for _ in range(5):
            advance_round(engine, searches[: searches.index(search) + 1])
    run(engine, searches)
    for prompt, search in zip(prompts, searches, strict=True):
        tree = search.tree
        for leaf in tree.rollouts.leaf.tolist():
            expected = reference_logprobs(model, prompt, tree.tokens(leaf))
            np.testing.assert_allclose(tree.nodes.logprob[tree.path(leaf)], expected, atol=1e-4)


@pytest.mark.skipif(not cpu_supported(), reason="this machine has no int8 kernels")
def test_an_int8_search_is_the_same_to_the_bit_alone_and_beside_longer_ones(tmp_path: Path) -> None:
    tiny_model("qwen2").save_pretrained(tmp_path)
    engine = TorchLanguageModel(load_cpu_model(tmp_path))
    settings = SearchSettings(n=3, max_new_tokens=20)
    alone = Search(engine, Prompt(PROMPT), settings)
    run(engine, [alone])
    longer = [Search(engine, Prompt([seed, *PROMPT]), SearchSettings(n=5, max_new_tokens=60)) for seed in range(3)]
    for _ in range(30):
        advance_round(engine, longer)
    beside = Search(engine, Prompt(PROMPT), settings)
    run(engine, [*longer, beside])
    for column in ("token_id", "parent", "logprob", "entropy"):
        assert np.array_equal(getattr(alone.tree.nodes, column), getattr(beside.tree.nodes, column))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_of_one_token_is_gone_on_from(precision: str, architecture: str, tmp_path: Path) -> None:
    tiny_model(architecture).save_pretrained(tmp_path)
    if precision == "int8" and not cpu_supported():
        pytest.skip("this machine has no int8 kernels")
    engine = TorchLanguageModel(load_weights(tmp_path, precision))
    session = engine.open(Prompt([7]), Sampling(), seed=0)
    grow(engine, session, [ROOT] * 3, 5)


def grow(engine: TorchLanguageModel, session: Any, leaves: list[int], steps: int, first_stream: int = 0) -> np.ndarray:
    grown = np.asarray(leaves)
    for _ in range(steps):
        grown = engine.advance([Growth(session, grown, np.arange(len(grown)) + first_stream, 1)])[0]
    return grown


def test_a_cache_after_drops_and_forks_equals_one_built_from_nothing(model: Any) -> None:
    engine = TorchLanguageModel(model)
    session = engine.open(Prompt(PROMPT), Sampling(), seed=3)
    leaves = grow(engine, session, [ROOT] * 6, 10)
    trunk = session.tree.path(int(leaves[0]))
    engine.keep(session, leaves[:1])
    forked = grow(engine, session, [int(trunk[3])] * 4 + [int(leaves[0])], 10, first_stream=100)
    engine.keep(session, np.empty(0, np.int64))  # all caches go: what follows is read anew
    again = grow(engine, session, [int(forked[1])], 5, first_stream=200)
    for leaf in [*forked.tolist(), int(again[0])]:
        expected = reference_logprobs(model, PROMPT, session.tree.tokens(leaf))
        np.testing.assert_allclose(session.tree.nodes.logprob[session.tree.path(leaf)], expected, atol=1e-4)


def test_closing_every_session_frees_every_slot() -> None:
    engine = TorchLanguageModel(tiny_model("qwen2"))
    sessions = [engine.open(Prompt([*PROMPT, seed]), Sampling(), seed) for seed in range(4)]
    for session in sessions:
        grow(engine, session, [ROOT] * 5, 7)
    assert engine.statistics.cached_tokens > 0
    for session in sessions:
        engine.close(session)
    assert engine.statistics.cached_tokens == 0


def test_dropping_candidates_frees_exactly_what_no_kept_path_needs() -> None:
    engine = TorchLanguageModel(tiny_model("llama"))
    session = engine.open(Prompt(PROMPT), Sampling(), 0)
    leaves = grow(engine, session, [ROOT] * 8, 12)
    engine.keep(session, leaves[:2])
    kept = {node for leaf in leaves[:2].tolist() for node in session.tree.path(leaf).tolist()}
    assert engine.statistics.cached_tokens == len(kept - set(leaves[:2].tolist()))  # the last tokens were drawn but not yet read


def test_draws_do_not_depend_on_the_batch() -> None:
    engine = TorchLanguageModel(tiny_model("qwen3"))

    def rollouts(prompts: list[list[int]]) -> list[Tree]:
        searches = [Search(engine, Prompt(prompt), SearchSettings(n=3, max_new_tokens=15)) for prompt in prompts]
        run(engine, searches)
        return [search.tree for search in searches]

    alone = [rollouts([prompt])[0] for prompt in ([1, 2, 3], [4, 5])]
    together = rollouts([[1, 2, 3], [4, 5]])
    for one, other in zip(alone, together, strict=True):
        assert one.nodes.token_id.tolist() == other.nodes.token_id.tolist()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_tokens() -> None:
    engine = TorchLanguageModel(tiny_model("qwen2"))
    trees = []
    for seed in (1, 1, 2):
        search = Search(engine, Prompt(PROMPT), SearchSettings(n=4, max_new_tokens=20, seed=seed))
        run(engine, [search])
        trees.append(search.tree)
    assert trees[0] == trees[1]
    assert trees[0].nodes.token_id.tolist() != trees[2].nodes.token_id.tolist()


def test_prompts_and_answers_beyond_the_context_are_refused() -> None:
    engine = TorchLanguageModel(tiny_model("qwen2"))
    with pytest.raises(ContextError, match="512"):
        engine.open(Prompt([3] * 512), Sampling(), 0)
    with pytest.raises(ContextError, match="empty"):
        engine.open(Prompt([]), Sampling(), 0)
    search = Search(engine, Prompt([3] * 500), SearchSettings(n=2, max_new_tokens=50))
    with pytest.raises(ContextError, match="longer than"):
        run(engine, [search])


def test_a_pass_that_fails_leaves_nothing_behind_in_the_searches_that_it_held() -> None:
    model = tiny_model("qwen2")
    engine = TorchLanguageModel(model)
    session, longer = engine.open(Prompt(PROMPT), Sampling(), 0), engine.open(Prompt([3] * 511), Sampling(), 0)
    leaves, beyond = grow(engine, session, [ROOT] * 3, 4), grow(engine, longer, [ROOT], 2)
    held = engine.statistics.cached_tokens
    with pytest.raises(ContextError, match="longer than"):
        engine.advance([Growth(session, leaves, np.arange(3), 1), Growth(longer, beyond, np.arange(1), 1)])
    assert engine.statistics.cached_tokens == held
    leaves = grow(engine, session, leaves.tolist(), 5)
    for leaf in leaves.tolist():
        expected = reference_logprobs(model, PROMPT, session.tree.tokens(leaf))
        np.testing.assert_allclose(session.tree.nodes.logprob[session.tree.path(leaf)], expected, atol=1e-4)
