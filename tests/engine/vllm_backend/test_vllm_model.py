"""The vLLM backend against the torch backend and transformers: same tokens, same numbers, same decisions; and clean ends.

Runs where vLLM is installed (`make test-vllm`). One engine, with a value tail in its pass, serves most tests.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen.engine import scorers
from guided_gen.engine.errors import ContextError, SettingsError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Tree
from guided_gen.engine.tree_policies import DVTS, MCTS, REBASE, ForkingSearch, ParticleFilter
from guided_gen.engine.vllm_backend.loading import start
from guided_gen.engine.vllm_backend.model import VllmLanguageModel
from guided_gen.engine.vllm_backend.settings import VllmSettings

from ..served_models import CONTEXT, STOP, VOCABULARY, saved, served_model, value_tail

PROMPT = [7 + i * i % 290 for i in range(100)]
BLOCK = 32
SETTINGS = VllmSettings(enforce_eager=True, kv_cache_memory_bytes=1 << 28, block_size=BLOCK, max_num_seqs=32)
# Float products differ in their last bits between the backends and between batches.
CLOSE = 1e-3


@pytest.fixture(scope="module")
def plain() -> Any:
    return served_model()


@pytest.fixture(scope="module")
def served(plain: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmLanguageModel]:
    folder = saved(plain, tmp_path_factory.mktemp("served"))
    model = start(folder, "float32", value_tail(plain, 1, 2), SETTINGS)
    yield model
    model.end()


@pytest.fixture(scope="module")
def embedded() -> TorchLanguageModel:
    model = served_model()
    return TorchLanguageModel(model, value_tail(model, 1, 2))


def searched(model: Any, prompt: list[int] = PROMPT, **settings: Any) -> Tree:
    settings = {"stop_ids": STOP, "max_new_tokens": 60, "scorer": scorers.value, **settings}
    search = Search(model, Prompt(prompt), SearchSettings(**settings))
    run(model, [search])
    model.close(search.session)
    return search.tree


def assert_same_trees(tree: Tree, other: Tree) -> None:
    for column in ("token_id", "parent"):
        assert getattr(tree.nodes, column).tolist() == getattr(other.nodes, column).tolist()
    assert {name: column.tolist() for name, column in tree.rollouts.columns().items()} == {
        name: column.tolist() for name, column in other.rollouts.columns().items()
    }
    for column in ("logprob", "sample_logprob", "entropy", "margin", "certainty"):
        np.testing.assert_allclose(
            getattr(tree.nodes, column).astype(float), getattr(other.nodes, column).astype(float), atol=2 * CLOSE, err_msg=column
        )
    assert_same_values(tree, other)


def assert_same_values(tree: Tree, other: Tree) -> None:
    both = ~np.isnan(tree.nodes.value) & ~np.isnan(other.nodes.value)
    leaves = [leaf for leaf in other.rollouts.leaf.tolist() if leaf != ROOT]
    assert both[leaves].all()
    np.testing.assert_allclose(tree.nodes.value[both], other.nodes.value[both], atol=CLOSE)


def test_greedy_equals_generate(served: VllmLanguageModel, plain: Any) -> None:
    tree = searched(served, n=1, sampling=Sampling(temperature=0), max_new_tokens=100)
    with torch.no_grad():
        expected = plain.generate(torch.tensor([PROMPT]), max_new_tokens=100, do_sample=False)[0, len(PROMPT) :]
    assert tree.tokens(int(tree.rollouts.leaf[0])).tolist() == expected.tolist()


def test_log_probabilities_are_those_of_an_uncached_pass(served: VllmLanguageModel, plain: Any) -> None:
    tree = searched(served, n=3, seed=3)
    for leaf in tree.rollouts.leaf.tolist():
        ids = torch.tensor([PROMPT + tree.tokens(leaf).tolist()])
        with torch.no_grad():
            logprobs = torch.log_softmax(plain(ids).logits[0], dim=-1)
        expected = logprobs[len(PROMPT) - 1 : -1].gather(1, ids[0, len(PROMPT) :, None])[:, 0].numpy()
        np.testing.assert_allclose(tree.nodes.logprob[tree.path(leaf)], expected, atol=CLOSE)


@pytest.mark.parametrize("sampling", [Sampling(0), Sampling(0.8, 0.95), Sampling(1.2, 1.0), Sampling(2.5, 0.9, 30)], ids=repr)
def test_the_same_seed_gives_the_same_tree_on_both_backends(
    served: VllmLanguageModel, embedded: TorchLanguageModel, sampling: Sampling
) -> None:
    assert_same_trees(*(searched(model, n=5, seed=11, sampling=sampling) for model in (served, embedded)))


@pytest.mark.parametrize(
    "policy",
    [
        BestOfN(),
        EarlyStop(slack=0.02),
        Beam(width=2),
        SpeculativeRejection(),
        DVTS(subtrees=3),
        REBASE(),
        ParticleFilter(),
        ForkingSearch(),
        MCTS(),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_policies_decide_the_same_on_both_backends(
    served: VllmLanguageModel, embedded: TorchLanguageModel, policy: Policy
) -> None:
    assert_same_trees(*(searched(model, n=6, seed=5, policy=policy, check_every=10, budget=240) for model in (served, embedded)))
    assert served.engine.unfinished_requests == 0


def test_checks_at_line_ends_are_the_same_on_both_backends(served: VllmLanguageModel, embedded: TorchLanguageModel) -> None:
    settings: dict[str, Any] = {"n": 4, "policy": Beam(width=2), "line_ends": frozenset(range(0, VOCABULARY, 9))}
    assert_same_trees(*(searched(model, **settings) for model in (served, embedded)))


def test_a_candidate_does_not_depend_on_what_else_is_decoded(served: VllmLanguageModel) -> None:
    alone = searched(served, n=1, seed=21)
    with ThreadPoolExecutor(4) as threads:
        prompts = [PROMPT, PROMPT[:50], PROMPT[20:], PROMPT]
        together = list(threads.map(lambda prompt: searched(served, prompt, n=5, seed=21), prompts))
    assert together[0].nodes.token_id.tolist() == together[3].nodes.token_id.tolist()
    first = int(together[0].rollouts.leaf[together[0].rollouts.seed.tolist().index(0)])
    assert together[0].tokens(first).tolist() == alone.tokens(int(alone.rollouts.leaf[0])).tolist()


def test_asyncio_searches_share_one_engine(served: VllmLanguageModel) -> None:
    async def all_at_once() -> list[Tree]:
        return await asyncio.gather(*(asyncio.to_thread(searched, served, n=2, seed=seed) for seed in range(6)))

    together = asyncio.run(all_at_once())
    for seed, tree in enumerate(together):
        alone = searched(served, n=2, seed=seed)
        assert tree.nodes.token_id.tolist() == alone.nodes.token_id.tolist()
    assert served.engine.unfinished_requests == 0


def growth(session: Any, leaves: list[int], streams: list[int], tokens: int) -> Growth:
    return Growth(session, np.asarray(leaves), np.asarray(streams), tokens)


def settled_counts(model: VllmLanguageModel) -> tuple[int, int, int]:
    """The counts once nothing is under way."""
    model.engine.run(asyncio.sleep(0.2))
    counts = model.engine.counts
    return counts.generated, counts.looked_up, counts.found


def test_forks_find_their_prefix_in_the_cache(served: VllmLanguageModel) -> None:
    session = served.open(Prompt(PROMPT[::-1]), Sampling(1.0, 1.0), seed=1)
    [leaves] = served.advance([growth(session, [ROOT], [0], 30)])
    fork = session.tree.prefix_at(int(leaves[0]), 20)
    served.keep(session, leaves)
    _, looked_up, found = settled_counts(served)
    served.advance([growth(session, [fork] * 4, [1, 2, 3, 4], 5)])
    served.close(session)
    _, looked_up_after, found_after = settled_counts(served)
    length = len(PROMPT) + 20
    assert looked_up_after - looked_up == 4 * length
    assert found_after - found == 4 * ((length - 1) // BLOCK * BLOCK)  # the last token is always computed


def test_dropped_candidates_stop_in_the_engine(served: VllmLanguageModel) -> None:
    session = served.open(Prompt(PROMPT), Sampling(1.0, 1.0), seed=2)
    [leaves] = served.advance([growth(session, [ROOT] * 6, list(range(6)), 4)])
    assert served.engine.unfinished_requests == 6
    served.keep(session, leaves[:1])
    assert served.engine.unfinished_requests == 1
    served.close(session)
    assert served.engine.unfinished_requests == 0
    generated = settled_counts(served)[0]
    assert settled_counts(served)[0] == generated
    # 4 tokens each were asked for; in a fraction of a second none came near what it may run ahead by.
    assert len(session.tree) <= 24


def test_a_search_that_is_not_driven_on_ends_by_itself(served: VllmLanguageModel) -> None:
    session = served.open(Prompt(PROMPT), Sampling(1.0, 1.0), seed=4)
    before = settled_counts(served)[0]
    served.advance([growth(session, [ROOT] * 2, [0, 1], 4)])
    while served.engine.unfinished_requests:
        time.sleep(0.1)
    assert settled_counts(served)[0] - before == 2 * (4 + 64)
    [leaves] = served.advance([growth(session, [ROOT] * 2, [0, 1], 4)])
    [more] = served.advance([growth(session, leaves.tolist(), [0, 1], 100)])
    served.close(session)
    assert [session.tree.depth_of(leaf) for leaf in more.tolist()] == [36, 36]  # 4 and a block


def test_greedy_samples_at_a_node_are_one_request(served: VllmLanguageModel) -> None:
    session = served.open(Prompt(PROMPT), Sampling(0), seed=0)
    [leaves] = served.advance([growth(session, [ROOT] * 5, list(range(5)), 8)])
    assert len(set(leaves.tolist())) == 1
    assert served.engine.unfinished_requests == 1
    served.close(session)


def test_values_of_finished_answers_need_no_token_below_them(served: VllmLanguageModel, embedded: TorchLanguageModel) -> None:
    stops = frozenset(range(2, 300, 6))
    trees = [searched(model, n=6, seed=9, stop_ids=stops, max_new_tokens=20) for model in (served, embedded)]
    assert_same_trees(*trees)
    assert trees[0].rollouts.ended.tolist().count(1) > 2


def test_what_its_sampler_does_not_do_is_refused_by_name(served: VllmLanguageModel) -> None:
    for asked in ({"presence_penalty": 1.0}, {"frequency_penalty": 1.0}, {"bias": ((5, 1.0),)}, {"alternatives": 2}):
        [name] = Sampling(**asked).extras
        with pytest.raises(SettingsError, match=f"does not support {re.escape(name)}$"):
            served.open(Prompt(PROMPT), Sampling(**asked), 0)


def test_a_full_context_is_one_sentence(served: VllmLanguageModel) -> None:
    assert served.max_length == CONTEXT - 1  # the last value comes with one token more
    with pytest.raises(ContextError, match="511"):
        served.open(Prompt([5] * (CONTEXT - 1)), Sampling(), 0)
    with pytest.raises(ContextError, match="empty"):
        served.open(Prompt([]), Sampling(), 0)
    session = served.open(Prompt([5] * (CONTEXT - 11)), Sampling(1.0, 1.0), 0)
    [leaves] = served.advance([growth(session, [ROOT], [0], 32)])
    assert session.tree.depth_of(int(leaves[0])) == 10
    served.read([(session, leaves)])
    assert not np.isnan(session.tree.nodes.value).any()
    with pytest.raises(ContextError, match="511"):
        served.advance([growth(session, leaves.tolist(), [0], 1)])
    served.close(session)


@pytest.mark.parametrize(
    ("architecture", "fork_layer", "count"), [("llama", 3, 0), ("phi3", 0, 3), ("qwen3", 2, 1), ("qwen2", 3, 0)]
)
def test_tails_of_all_families(architecture: str, fork_layer: int, count: int, tmp_path: Path) -> None:
    plain = served_model(architecture)
    tail = value_tail(plain, fork_layer, count)
    model = start(saved(plain, tmp_path), "float32", tail, SETTINGS)
    try:
        served_tree = searched(model, n=3, seed=1, max_new_tokens=40, policy=Beam(width=2))
    finally:
        model.end()
    embedded = TorchLanguageModel(plain, tail)
    assert_same_trees(served_tree, searched(embedded, n=3, seed=1, max_new_tokens=40, policy=Beam(width=2)))


def test_a_cache_that_cannot_hold_all_candidates_changes_nothing(
    plain: Any, embedded: TorchLanguageModel, tmp_path: Path
) -> None:
    """vLLM puts requests off, or evicts them and reads them anew: 8 candidates of 300 tokens do not fit into 24 blocks of 32."""
    layers, bytes_of_a_token = 3 + 2, 2 * 2 * 32 * 4  # key and value, 2 heads of 32, float32
    small = replace(SETTINGS, kv_cache_memory_bytes=24 * BLOCK * layers * bytes_of_a_token)
    model = start(saved(plain, tmp_path), "float32", value_tail(plain, 1, 2), small)
    try:
        found = searched(model, n=8, seed=2, max_new_tokens=200, stop_ids=frozenset())
        assert model.engine.unfinished_requests == 0
    finally:
        model.end()
    assert_same_trees(found, searched(embedded, n=8, seed=2, max_new_tokens=200, stop_ids=frozenset()))


def test_tokens_that_pile_up_lose_no_numbers(served: VllmLanguageModel) -> None:
    """vLLM merges what its client has not fetched; and the first columns, which report, are tokens that are drawn too."""
    session = served.open(Prompt(PROMPT), Sampling(2.5, 1.0), seed=6)
    served.advance([growth(session, [ROOT] * 8, list(range(8)), 1)])

    async def keep_the_loop_busy() -> None:
        time.sleep(1)

    served.engine.run(keep_the_loop_busy())
    [leaves] = served.advance([growth(session, [ROOT] * 8, list(range(8)), 32)])
    served.read([(session, leaves)])
    served.close(session)
    assert (session.tree.nodes.token_id < 8).any()
    assert not np.isnan(session.tree.nodes.value).any()
    assert not np.isnan(session.tree.nodes.logprob).any()
