"""Tiny random models of the supported families, and random judged trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.valuemodel.packing import PromptedTree

VOCABULARY = 48
FAMILIES = ("llama", "phi3", "qwen2", "qwen3")


def tiny_base(family: str, layers: int = 4, vocabulary: int = VOCABULARY, context: int = 256) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.1,
    )
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest) -> Any:
    """A tiny random model of each family."""
    return tiny_base(request.param)


@pytest.fixture
def qwen() -> Any:
    return tiny_base("qwen2")


def random_tree(seed: int, rollouts: int = 6, longest: int = 12, prompt: int = 5, forked: bool = True) -> PromptedTree:
    """A trunk, rollouts forked off it and others from the prompt, with verdicts, both classes present."""
    rng = np.random.default_rng(seed)
    prompt_ids = tuple(rng.integers(3, VOCABULARY, prompt).tolist())
    tree = Tree.below(prompt_ids, {"problem": f"made-up/{seed}", "model": "tiny", "model_sha256": "0" * 64})
    trunk = _grow(tree, ROOT, longest, rng)
    tree.add_rollout(trunk, ROOT, Ended.EOS, 0)
    for i in range(1, rollouts):
        fork = int(rng.choice(tree.path(trunk)[:-1])) if forked and i % 3 else ROOT
        leaf = _grow(tree, fork, int(rng.integers(1, longest)), rng)
        tree.add_rollout(leaf, fork, Ended.EOS if i % 4 else Ended.LENGTH, i, multiplicity=int(rng.integers(1, 4)))
    labels = rng.random(len(tree.rollouts)) < 0.5
    labels[:2] = True, False
    tree.verdicts = ["passed" if label else "wrong_answer" for label in labels]
    return PromptedTree(tree, prompt_ids, f"made-up/{seed}")


def _grow(tree: Tree, node: int, tokens: int, rng: np.random.Generator) -> int:
    for _ in range(tokens):
        # Few different tokens, so that rollouts share prefixes beyond their forks.
        node = tree.add_node(node, int(rng.integers(3, 6)), logprob=float(np.log(rng.uniform(0.2, 1))))
    return node


@pytest.fixture
def make_tree() -> Callable[..., PromptedTree]:
    return random_tree
