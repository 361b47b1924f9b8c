"""The int8 path: exact integer products on every kind of CPU, outputs near float32's, rows that do not feel their batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config

from guided_gen.engine.int8 import (
    FbgemmMatrix,
    Int8Embedding,
    Int8Error,
    Int8Linear,
    OneDnnMatrix,
    int8_supported,
    load_int8,
    quantize_model_,
    quantize_rows,
)
from guided_gen.engine.stored_tensors import MissingTensor

from .tiny_models import ARCHITECTURES, CONFIGS, tiny_model

pytestmark = pytest.mark.skipif(not int8_supported(), reason="this CPU has no int8 matrix products")
MATRICES = [
    FbgemmMatrix,
    pytest.param(OneDnnMatrix, marks=pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="this CPU has no VNNI")),
]


def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(ids).logits


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("rows", [1, 2, 7, 36])
def test_the_largest_products_do_not_saturate(matrix: Any, rows: int) -> None:
    weight = torch.where(torch.rand(40, 896) < 0.9, 64, -64).to(torch.int8)
    steps = torch.where(torch.rand(rows, 896) < 0.9, 127.0, -127.0)
    expected = (steps.double() @ weight.double().T).float()
    assert torch.equal(matrix(weight, torch.ones(40)).times(steps.clone()), expected)


def test_avx2_alone_computes_the_same_integers() -> None:
    """In a process of its own, because FBGEMM chooses its instructions when it starts."""
    product = (
        "import torch; from guided_gen.engine.int8 import FbgemmMatrix;"
        "weight = torch.where(torch.arange(40 * 896).view(40, 896) % 7 > 0, 64, -64).to(torch.int8);"
        "steps = torch.where(torch.arange(9 * 896).view(9, 896) % 11 > 0, 127.0, -127.0);"
        "exact = (steps.double() @ weight.double().T).float();"
        "assert torch.equal(FbgemmMatrix(weight, torch.ones(40)).times(steps), exact)"
    )
    environment = os.environ | {"FBGEMM_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    subprocess.run([sys.executable, "-c", product], env=environment, check=True)


@pytest.mark.parametrize("matrix", MATRICES)
def test_all_matrices_round_alike(matrix: Any) -> None:
    torch.manual_seed(0)
    weight, scale = quantize_rows(torch.randn(40, 64), 64)
    steps = torch.rand(9, 64) * 254 - 127
    expected = steps.round().double() @ (weight.double() * scale.double()[:, None]).T
    torch.testing.assert_close(matrix(weight, scale).times(steps.clone()).double(), expected, rtol=1e-5, atol=1e-4)


def test_a_linear_layer_is_near_its_float_layers_whatever_the_tokens_magnitudes() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(96, 32), nn.Linear(96, 8, bias=False)]
    fused = Int8Linear(*layers)
    x = torch.randn(2, 5, 96) * torch.logspace(-6, 6, 5)[:, None]
    expected = torch.cat([layer(x) - (layer.bias if layer.bias is not None else 0) for layer in layers], dim=-1)
    bias = torch.cat([layers[0].bias.detach(), torch.zeros(8)])
    error = (fused(x) - bias - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error[:, 2:].max() < 0.02  # below, the bias hides the product in float32
    assert torch.isfinite(fused(torch.zeros(1, 96))).all()


def test_a_row_is_the_same_alone_and_in_any_batch() -> None:
    torch.manual_seed(0)
    layer = Int8Linear(nn.Linear(96, 48))
    x = torch.randn(64, 96)
    x[::7] *= 1000  # rows that would set the scale of a whole batch
    together = layer(x)
    for rows in (1, 2, 3, 8, 37):
        assert torch.equal(layer(x[5 : 5 + rows]), together[5 : 5 + rows])


def test_an_embedding_is_near_its_float_table() -> None:
    table = nn.Embedding(50, 96)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert ((Int8Embedding(table.weight)(ids) - table(ids)).norm() / table(ids).norm()).item() < 0.01


def test_a_model_is_near_float32(architecture: str) -> None:
    model = tiny_model(architecture)
    ids = torch.randint(3, 300, (2, 40), generator=torch.Generator().manual_seed(1))
    exact = torch.log_softmax(logits(model, ids), -1)
    quantize_model_(model)
    near = torch.log_softmax(logits(model, ids), -1)
    divergence = (exact.exp() * (exact - near)).sum(-1).mean()
    entropy = -(exact.exp() * exact).sum(-1).mean()
    assert divergence < 0.05 < 0.1 * entropy


@pytest.mark.parametrize("tied", [False, True])
def test_a_loaded_folder_equals_the_model_quantised_in_memory(architecture: str, tied: bool, tmp_path: Path) -> None:
    config = CONFIGS[architecture]()
    config.tie_word_embeddings = tied
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path, max_shard_size="40KB")  # several files and their index
    ids = torch.arange(3, 40)[None]
    quantize_model_(model)
    loaded = load_int8(tmp_path)
    assert torch.equal(logits(loaded, ids), logits(model, ids))
    assert loaded.generation_config.eos_token_id == model.generation_config.eos_token_id
    assert all(tensor.device.type == "cpu" for tensor in [*loaded.parameters(), *loaded.buffers()])


def test_biases_of_all_projections_are_kept() -> None:
    config = CONFIGS["llama"]()
    config.attention_bias = config.mlp_bias = True
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    ids = torch.arange(3, 40)[None]
    exact = logits(model, ids)
    quantize_model_(model)
    assert ((logits(model, ids) - exact).norm() / exact.norm()).item() < 0.03


def test_another_family_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2)
    config.save_pretrained(tmp_path)
    with pytest.raises(Int8Error, match="not gpt2"):
        load_int8(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "model.layers.1.mlp.up_proj.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(MissingTensor, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        load_int8(tmp_path)
