"""An exported value model in an engine of its own gives the values of the same model in the torch backend's pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from transformers import AutoConfig, AutoModelForCausalLM

from guided_gen.engine import scorers
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policies import Beam
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import Tree
from guided_gen.engine.vllm_backend.loading import start, start_with_classifier
from guided_gen.engine.vllm_backend.pooling import PooledLanguageModel
from guided_gen.engine.vllm_backend.settings import VllmSettings
from guided_gen.valuemodel.attach import export_classifier
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.model import ValueModel

from .made_up import trained

PROMPT = [7 + i * i % 280 for i in range(100)]
BLOCK = 32
SETTINGS = VllmSettings(enforce_eager=True, kv_cache_memory_bytes=1 << 28, block_size=BLOCK)


def base_model() -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen2",
        vocab_size=300,
        hidden_size=128,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        initializer_range=0.06,
    )
    return AutoModelForCausalLM.from_config(config).eval()


def searched(model: Any, **settings: Any) -> Tree:
    common: dict[str, Any] = {"n": 4, "max_new_tokens": 64, "check_every": 32, "seed": 3, "scorer": scorers.value}
    search = Search(model, Prompt(PROMPT), SearchSettings(**(common | settings)))
    run(model, [search])
    model.close(search.session)
    return search.tree


@pytest.mark.parametrize("features", [("last", "logprob"), ("last", "mean", "logprob")])
def test_an_exported_value_model_gives_the_same_values_and_decisions(features: tuple[str, ...], tmp_path: Path) -> None:
    base = base_model()
    base.save_pretrained(tmp_path / "base")
    value = trained(ValueModel.from_base(base, 1, HeadSettings(features), 2))
    export_classifier(value, base, tmp_path / "classifier")
    model = start_with_classifier(tmp_path / "base", "float32", tmp_path / "classifier", SETTINGS)
    try:
        trees = [searched(model, policy=Beam(width=2))]
        assert_only_new_blocks_were_read(model, trees[0])
        again = searched(model, policy=Beam(width=2))  # which finds all its tokens in the cache
        np.testing.assert_allclose(again.nodes.value, trees[0].nodes.value, atol=1e-3)
    finally:
        model.end()
    embedded = TorchLanguageModel(base_model(), value.engine_tail(torch.float32, "cpu"))
    trees.append(searched(embedded, policy=Beam(width=2)))
    assert trees[0].nodes.token_id.tolist() == trees[1].nodes.token_id.tolist()
    assert trees[0].rollouts.ended.tolist() == trees[1].rollouts.ended.tolist()
    np.testing.assert_allclose(trees[0].nodes.value, trees[1].nodes.value, atol=1e-3)


def assert_only_new_blocks_were_read(model: PooledLanguageModel, tree: Tree) -> None:
    """At 100 + 32 tokens everybody finds the prompt's 3 blocks, but who reads first; at 100 + 64 what the check before read."""
    counts = model.classifier.engine.counts
    at_check, at_end = (int((tree.depth == depth).sum()) for depth in (32, 64))
    assert counts.looked_up == at_check * (len(PROMPT) + 32) + at_end * (len(PROMPT) + 64)
    assert counts.found == 96 * (at_check - 1) + 128 * at_end
    assert model.statistics.passes == model.engine.counts.steps + counts.steps
    assert model.engine.counts.steps >= 64 and counts.steps >= 2 and model.statistics.scoring_seconds > 0


def test_a_classifier_that_was_not_exported_is_one_sentence(tmp_path: Path) -> None:
    from guided_gen.engine.errors import SettingsError

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(SettingsError, match="guided-gen export"):
        start_with_classifier(tmp_path, "float32", tmp_path, SETTINGS)


def test_a_value_model_in_the_pass_gives_the_torch_backends_values(tmp_path: Path) -> None:
    """The whole way of a trained value model: its tail, merged, in vLLM's pass; its head, with hidden units, here."""
    base = base_model()
    base.save_pretrained(tmp_path)
    value = trained(ValueModel.from_base(base, 2, HeadSettings(("last", "mean", "logprob"), hidden=5), 1, lora_rank=2))
    tail = value.engine_tail(torch.float32, "cpu")
    model = start(tmp_path, "float32", tail, SETTINGS)
    try:
        served = searched(model, policy=Beam(width=2))
    finally:
        model.end()
    embedded = searched(TorchLanguageModel(base_model(), tail), policy=Beam(width=2))
    assert served.nodes.token_id.tolist() == embedded.nodes.token_id.tolist()
    both = ~np.isnan(served.nodes.value) & ~np.isnan(embedded.nodes.value)
    assert both[embedded.rollouts.leaf].all()
    np.testing.assert_allclose(served.nodes.value[both], embedded.nodes.value[both], atol=1e-3)
