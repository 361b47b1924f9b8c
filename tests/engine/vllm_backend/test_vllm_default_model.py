"""The default model in float32 on both backends: the same answers, and the same values of them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen.engine.language_model import LanguageModel, Prompt
from guided_gen.engine.models.files import resolve_model
from guided_gen.engine.models.known import DEFAULT_MODEL
from guided_gen.engine.models.loading import load_weights
from guided_gen.engine.models.tokenizer_loading import load_tokenizer
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import Tree
from guided_gen.engine.vllm_backend.loading import start
from guided_gen.engine.vllm_backend.settings import VllmSettings

from ..served_models import value_tail

TASKS = [
    "Write a Python function that merges two sorted lists.",
    "Write a Python function that says whether a string is a palindrome.",
    "Write a Python function that returns the n-th prime number.",
    "Write a Python function that counts the words in a text file.",
    "Write a Python function that transposes a matrix.",
]
AGREED = 50


@pytest.mark.model
def test_greedy_answers_and_their_values_agree() -> None:
    folder = resolve_model(DEFAULT_MODEL)
    model = load_weights(folder, "float32")
    tail = value_tail(model, 22, 2)
    tokenizer = load_tokenizer(folder)
    prompts = [tokenizer.apply_chat_template([{"role": "user", "content": task}], add_generation_prompt=True) for task in TASKS]
    served = start(folder, "float32", tail, VllmSettings(max_model_len=512, enforce_eager=True))
    try:
        found = _answers(served, prompts)
    finally:
        served.end()
    expected = _answers(TorchLanguageModel(model, tail), prompts)
    for tree, other in zip(found, expected, strict=True):
        assert tree.nodes.token_id[:AGREED].tolist() == other.nodes.token_id[:AGREED].tolist()
        np.testing.assert_allclose(tree.nodes.logprob[:AGREED], other.nodes.logprob[:AGREED], atol=1e-3)
        np.testing.assert_allclose(tree.nodes.value[:AGREED], other.nodes.value[:AGREED], atol=1e-3)


def _answers(model: LanguageModel, prompts: list[list[int]]) -> list[Tree]:
    settings = SearchSettings(n=1, max_new_tokens=AGREED, sampling=Sampling(temperature=0), check_every=10)
    searches = [Search(model, Prompt(prompt), settings) for prompt in prompts]
    run(model, searches)
    return [search.tree for search in searches]
