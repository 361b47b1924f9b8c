"""Made-up models, trees and value models, and what a value model says of a whole tree at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.valuemodel.base_layers import shared_states
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.packing import PromptedTree, pack_tree

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


def learnable(count: int, first_seed: int = 0) -> list[PromptedTree]:
    """Correct rollouts are mostly of token 4, wrong ones mostly of token 5: what a tail can read off the states."""
    trees = []
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng(seed)
        prompt_ids = tuple(rng.integers(6, VOCABULARY, 4).tolist())
        tree = Tree.below(prompt_ids, {"model_sha256": "tiny"})
        for stream in range(6):
            node = ROOT
            correct = rng.random() < 0.5
            tokens = np.where(rng.random(int(rng.integers(3, 9))) < 0.9, 5 - correct, 4 + correct)
            for token in tokens.tolist():
                node = tree.add_node(node, token, logprob=-1.0)
            row = tree.add_rollout(node, ROOT, Ended.EOS, stream)
            tree.verdicts[row] = "passed" if correct else "wrong_answer"
        trees.append(PromptedTree(tree, prompt_ids, f"made-up/{seed}"))
    return trees


def trained(model: ValueModel) -> ValueModel:
    """As if trained: every weight of the tail moved, adapters included, and calibrated."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.tail.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
        for parameter in model.head.parameters():  # far from zero, where a new head begins
            parameter.add_(0.2 * torch.randn_like(parameter))
        model.head.calibration.copy_(torch.tensor([0.7, -0.2]))
    return model.eval()


def packed_values(model: ValueModel, base: Any, tree: Tree, prompt_ids: Any) -> np.ndarray:
    """One forward pass over the whole tree, [nodes]."""
    pack = pack_tree(tree, prompt_ids)
    mean_logprob = torch.from_numpy(tree.logprob_sum / tree.depth)[pack.nodes].float()
    values = np.empty(len(tree))
    states = shared_states(base, pack, [model.settings.fork_layer])[0]
    values[pack.nodes.numpy()] = model.values(states, pack, mean_logprob).numpy()
    return values
