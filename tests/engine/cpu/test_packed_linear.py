"""Packed float32 matrices: a model decodes as it did, whatever its files look like, and no matrix is held twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from guided_gen.engine.cpu.packed_linear import PackedLinear
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.loading import load_weights
from guided_gen.engine.policies import Beam
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel

from ..tiny_models import ARCHITECTURES, CONFIGS
from ..torch_backend.test_torch_model import reference_logprobs

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
PROMPT = [5, 7, 9, 11, 4]


def saved(folder: Path, architecture: str, tied: bool = False, dtype: torch.dtype = torch.float32) -> Path:
    """A tiny random model with large weights and biases, in several files."""
    config = CONFIGS[architecture]()
    config.tie_word_embeddings = tied
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    model.to(dtype).save_pretrained(folder, max_shard_size="40KB")
    return folder


@pytest.mark.parametrize("rows", [(), (1,), (5,), (2, 36)])
def test_a_layer_computes_what_it_was_made_from(rows: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(96, 50)
    packed = PackedLinear(linear.weight.detach(), linear.bias.detach())
    x = torch.randn(*rows, 96)
    torch.testing.assert_close(packed(x), linear(x).detach())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_equals_generate_and_logprobs_an_uncached_pass(architecture: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, architecture)
    plain, model = load_weights(folder, "float32"), TorchLanguageModel(load_weights(folder, "float32", packed=True))
    greedy = Search(model, Prompt(PROMPT), SearchSettings(n=1, max_new_tokens=40, sampling=Sampling(0)))
    forked = Search(model, Prompt(PROMPT), SearchSettings(n=9, max_new_tokens=30, policy=Beam(2), check_every=4))
    run(model, [greedy, forked])
    expected = plain.generate(torch.tensor([PROMPT]), max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert greedy.tree.tokens(greedy.tree.rollouts.leaf[0]).tolist() == expected[0, len(PROMPT) :].tolist()
    for leaf in forked.tree.rollouts.leaf.tolist():
        logprobs = reference_logprobs(plain, PROMPT, forked.tree.tokens(leaf))
        np.testing.assert_allclose(forked.tree.nodes.logprob[forked.tree.path(leaf)], logprobs, atol=1e-4)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tied_head_and_other_types_on_disk_change_nothing(tied: bool, dtype: torch.dtype, tmp_path: Path) -> None:
    folder = saved(tmp_path, "qwen2", tied, dtype)
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        plain, packed = (load_weights(folder, "float32", packed=packed)(ids).logits for packed in (False, True))
    torch.testing.assert_close(packed, plain, atol=1e-4, rtol=1e-4)


def test_no_matrix_is_held_twice_and_the_table_stays(tmp_path: Path) -> None:
    model = load_weights(saved(tmp_path, "qwen2", tied=True), "float32", packed=True)
    assert not any(isinstance(module, nn.Linear) for module in model.modules())
    assert [name for name, parameter in model.named_parameters() if parameter.dim() == 2] == ["model.embed_tokens.weight"]
