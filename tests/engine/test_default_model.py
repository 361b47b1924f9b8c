"""The engine on a real model, read from its GGUF: tokens and log-probabilities are those of transformers' own decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.files import resolve_model
from guided_gen.engine.models.loaded_model import LoadedModel
from guided_gen.engine.models.loading import load_model
from guided_gen.engine.models.tokenizer_loading import load_tokenizer
from guided_gen.engine.policies import Beam
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, advance_round, run

pytestmark = pytest.mark.model

MODEL = "qwen2.5-coder-0.5b"
QUESTION = "Write a Python function is_prime(n). Answer with one code block and nothing else."


@pytest.fixture(scope="module")
def prompt() -> list[int]:
    tokenizer = load_tokenizer(resolve_model(MODEL))
    messages = [{"role": "user", "content": QUESTION}]
    ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True)
    return ids


@pytest.fixture(scope="module")
def plain() -> Any:
    from transformers import AutoModelForCausalLM, GgufConfig

    path = resolve_model(MODEL)
    model: Any = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return model.eval()


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model(MODEL, precision="float32")


def test_token_ids_are_those_of_transformers() -> None:
    from transformers import AutoTokenizer

    path = resolve_model(MODEL)
    own: Any = load_tokenizer(path)
    expected: Any = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    for text in (QUESTION, "  naïve\n\tdéjà vu 12345 <|im_end|> 你好"):
        messages = [{"role": "user", "content": text}]
        ids = expected.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert own.apply_chat_template(messages, add_generation_prompt=True) == ids
        assert own.decode(ids) == expected.decode(ids)


def searched(loaded: LoadedModel, prompt: list[int], settings: SearchSettings) -> Any:
    search = Search(loaded.language_model, Prompt(prompt), settings)
    run(loaded.language_model, [search])
    loaded.language_model.close(search.session)
    return search.tree


def test_one_greedy_candidate_equals_generate(loaded: LoadedModel, plain: Any, prompt: list[int]) -> None:
    answer = plain.generate(torch.tensor([prompt]), max_new_tokens=60, do_sample=False, repetition_penalty=1.0)
    settings = SearchSettings(n=1, max_new_tokens=60, sampling=Sampling(0), stop_ids=loaded.stop_ids)
    tree = searched(loaded, prompt, settings)
    assert tree.tokens(tree.rollouts.leaf[0]).tolist() == answer[0, len(prompt) :].tolist()


def test_logprobs_of_a_pruned_search_equal_an_uncached_pass(loaded: LoadedModel, plain: Any, prompt: list[int]) -> None:
    settings = SearchSettings(n=6, max_new_tokens=40, policy=Beam(2), check_every=10, stop_ids=loaded.stop_ids)
    tree = searched(loaded, prompt, settings)
    for leaf in tree.rollouts.leaf.tolist():
        tokens = tree.tokens(leaf)
        ids = torch.tensor([prompt + tokens.tolist()])
        with torch.no_grad():
            logprobs = torch.log_softmax(plain(ids).logits[0], dim=-1)
        expected = logprobs[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])[:, 0].numpy()
        np.testing.assert_allclose(tree.nodes.logprob[tree.path(leaf)], expected, atol=1e-4)


def test_int8_draws_an_answer_that_float32_finds_likely(loaded: LoadedModel, prompt: list[int]) -> None:
    settings = SearchSettings(n=1, max_new_tokens=60, sampling=Sampling(0), stop_ids=loaded.stop_ids)
    quantised = load_model(MODEL, precision="int8")
    tree = searched(quantised, prompt, settings)
    reference = searched(loaded, prompt, settings)
    assert tree.nodes.logprob.mean() == pytest.approx(reference.nodes.logprob.mean(), abs=0.05)


def test_an_int8_search_is_the_same_to_the_bit_alone_and_beside_longer_ones(prompt: list[int]) -> None:
    model = load_model(MODEL, precision="int8").language_model
    settings = SearchSettings(n=4, max_new_tokens=40, seed=3)
    alone = Search(model, Prompt(prompt), settings)
    run(model, [alone])
    longer = Search(model, Prompt(prompt[:-1]), SearchSettings(n=9, max_new_tokens=90))
    for _ in range(50):
        advance_round(model, [longer])
    beside = Search(model, Prompt(prompt), settings)
    run(model, [longer, beside])
    assert np.array_equal(alone.tree.nodes.token_id, beside.tree.nodes.token_id)
    assert np.array_equal(alone.tree.nodes.logprob, beside.tree.nodes.logprob)
