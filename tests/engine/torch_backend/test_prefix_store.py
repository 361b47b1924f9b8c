"""Prompts that are kept between sessions: what goes on from them equals what is read from nothing, and memory stays bounded."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from guided_gen.engine.errors import ContextError
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.kv_cache import PromptCache
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.torch_backend.prefix_store import PrefixStore

from ..tiny_models import ARCHITECTURES, tiny_model
from .test_torch_model import reference_logprobs

SETTINGS = SearchSettings(n=3, max_new_tokens=12, seed=4)
SYSTEM = [5, 7, 9, 11, 4, 20, 21]


def searched(engine: TorchLanguageModel, prompt: list[int], hold: bool = False) -> Any:
    search = Search(engine, Prompt(prompt), SETTINGS)
    run(engine, [search])
    if hold:
        engine.hold(search.session, int(search.tree.rollouts.leaf[0]))
    engine.close(search.session)
    return search.tree


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_prompt_that_goes_on_from_a_held_one_gives_what_a_fresh_one_gives(architecture: str) -> None:
    model = tiny_model(architecture)  # the reference sets its own attention
    engine = TorchLanguageModel(copy.deepcopy(model))
    engine.hold_prefixes(1 << 20)
    first = searched(engine, SYSTEM, hold=True)
    answer = first.tokens(int(first.rollouts.leaf[0])).tolist()
    for prompt in ([*SYSTEM, *answer, 30, 31], [*SYSTEM, *answer[:4], 40], [*SYSTEM[:3], 50, 51], SYSTEM[:2], SYSTEM):
        tree = searched(engine, prompt)
        for leaf in tree.rollouts.leaf.tolist():
            expected = reference_logprobs(model, prompt, tree.tokens(leaf))
            np.testing.assert_allclose(tree.nodes.logprob[tree.path(leaf)], expected, atol=1e-4)


def test_the_same_prompt_again_is_equal_to_the_bit_and_reads_nothing() -> None:
    engine = TorchLanguageModel(tiny_model("qwen2"))
    engine.hold_prefixes(1 << 20)
    first = searched(engine, SYSTEM, hold=True)
    read = []
    forward = engine._run
    engine._run = lambda tokens, *rest: (read.append(len(tokens)), forward(tokens, *rest))[1]  # type: ignore[method-assign]
    assert searched(engine, SYSTEM) == first
    assert max(read) <= SETTINGS.n  # steps of decoding, no prompt


def test_a_given_answer_has_the_logprobs_of_an_uncached_pass() -> None:
    model = tiny_model("llama")
    engine = TorchLanguageModel(copy.deepcopy(model))
    for held in (0, 1 << 20):
        engine.hold_prefixes(held)
        for answer in ([8], list(range(30, 130))):
            found = engine.logprobs(SYSTEM, answer)
            np.testing.assert_allclose(found, reference_logprobs(model, SYSTEM, np.asarray(answer)), atol=1e-4)
    with pytest.raises(ContextError, match="600"):
        engine.logprobs(SYSTEM, [3] * 600)


def test_nothing_is_held_unless_asked_for() -> None:
    engine = TorchLanguageModel(tiny_model("qwen2"))
    searched(engine, SYSTEM, hold=True)
    assert len(engine.prefixes) == 0


def test_the_bound_holds_and_the_least_recently_used_go_first() -> None:
    engine = TorchLanguageModel(tiny_model("qwen3"))
    engine.hold_prefixes(1 << 30)
    searched(engine, [9] * 40)
    one = engine.prefixes.bytes
    engine.hold_prefixes(3 * one)
    for prompt in ([1] * 40, [2] * 40, [3] * 40, [1] * 40, [4] * 40):
        searched(engine, prompt)
        assert engine.prefixes.bytes <= 3 * one
    assert [engine.prefixes.longest([token] * 40)[1] for token in (1, 2, 3, 4)] == [40, 0, 40, 40]
    searched(engine, [6] * 200)  # more than all of the store: not held, and nothing else is dropped for it
    assert len(engine.prefixes) == 3


def test_a_conversation_is_held_once_however_often_it_goes_on() -> None:
    engine = TorchLanguageModel(tiny_model("phi3"))
    engine.hold_prefixes(1 << 20)
    prompt = SYSTEM
    for turn in range(4):
        tree = searched(engine, prompt, hold=True)
        prompt = [*prompt, *tree.tokens(int(tree.rollouts.leaf[0])).tolist(), 60 + turn]
    assert len(engine.prefixes) == 1


def test_the_longest_common_prefix_is_found() -> None:
    store = PrefixStore(1 << 20)
    for tokens in ([1, 2, 3], [1, 2, 4, 5], [7]):
        store.add(PromptCache(tokens, ()))
    for wanted, length in (([1, 2, 4, 6], 3), ([1, 2, 3, 9], 3), ([1, 9], 1), ([8], 0), ([7], 1)):
        held, common = store.longest(wanted)
        assert common == length
        assert held is None if not length else held is not None and held.token_ids[:length] == wanted[:length]


def test_an_open_session_does_not_mind_that_its_prompt_is_dropped() -> None:
    model = tiny_model("qwen2")
    engine = TorchLanguageModel(copy.deepcopy(model))
    engine.hold_prefixes(1 << 20)
    search = Search(engine, Prompt(SYSTEM), SETTINGS)
    engine.hold_prefixes(0)
    run(engine, [search])
    leaf = int(search.tree.rollouts.leaf[0])
    expected = reference_logprobs(model, SYSTEM, search.tree.tokens(leaf))
    np.testing.assert_allclose(search.tree.nodes.logprob[search.tree.path(leaf)], expected, atol=1e-4)
    assert engine.open(Prompt(SYSTEM), Sampling(), 0).prompt.token_ids == SYSTEM
