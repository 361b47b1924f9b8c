"""The path in blocks: outputs near float32's, for every family, and rows that do not feel their batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.block_linear import BlockEmbedding, BlockLinear
from guided_gen.engine.cpu.blocks import BlockMatrix, BlockType, quantize_to_q8_0
from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.errors import ModelError
from guided_gen.engine.models.loading import chosen_precision, load_cpu_model
from guided_gen.valuemodel.base_layers import last_states

from ..tiny_models import ARCHITECTURES, CONFIGS, tiny_model

pytestmark = pytest.mark.skipif(not cpu_supported(), reason="this machine has no kernels")
IDS = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(1)).tolist()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    [states] = last_states(model, [IDS])
    return model.lm_head(states)


def divergence(exact: Any, near: Any) -> tuple[float, float]:
    """KL divergence a token, and the entropy that it is small against."""
    p, q = (torch.log_softmax(logits(model), -1) for model in (exact, near))
    return float((p.exp() * (p - q)).sum(-1).mean()), float(-(p.exp() * p).sum(-1).mean())


def block_matrix(weight: torch.Tensor) -> BlockMatrix:
    matrix = BlockMatrix(weight.shape[0], weight.shape[1], BlockType.Q8_0)
    matrix.fill(0, quantize_to_q8_0(weight))
    return matrix


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_linear_layer_is_near_its_float_layers_whatever_the_tokens_magnitudes() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(96, 32), nn.Linear(96, 8, bias=False)]
    bias = torch.cat([layers[0].bias.detach(), torch.zeros(8)])
    together = BlockLinear([block_matrix(layer.weight) for layer in layers], bias)
    x = torch.randn(2, 5, 96) * torch.logspace(-6, 6, 5)[:, None]
    expected = torch.cat([layer(x) - (layer.bias if layer.bias is not None else 0) for layer in layers], dim=-1)
    error = (together(x) - bias - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error[:, 2:].max() < 0.02  # below, the bias hides the product in float32
    assert torch.isfinite(together(torch.zeros(1, 96))).all()


def test_a_row_is_the_same_alone_and_in_any_batch() -> None:
    torch.manual_seed(0)
    layer = BlockLinear([block_matrix(torch.randn(48, 96))])
    x = torch.randn(64, 96)
    x[::7] *= 1000  # rows that would set the scale of a whole batch
    together = layer(x)
    for rows in (1, 2, 3, 8, 37):
        assert torch.equal(layer(x[5 : 5 + rows]), together[5 : 5 + rows])


def test_an_embedding_is_near_its_float_table() -> None:
    table = nn.Embedding(50, 96)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert ((BlockEmbedding(block_matrix(table.weight))(ids) - table(ids)).norm() / table(ids).norm()).item() < 0.01


def test_a_model_is_near_float32(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    model.save_pretrained(tmp_path)
    found, entropy = divergence(model, load_cpu_model(tmp_path))
    assert found < 0.05 < 0.1 * entropy


@pytest.mark.parametrize("tied", [False, True])
def test_tied_matrices_and_several_files_are_read(architecture: str, tied: bool, tmp_path: Path) -> None:
    config = CONFIGS[architecture]()
    config.tie_word_embeddings = tied
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "several", max_shard_size="40KB")  # and their index
    several = load_cpu_model(tmp_path / "several")
    assert ((logits(several) - logits(model)).norm() / logits(model).norm()).item() < 0.03
    assert torch.equal(logits(several), logits(load_cpu_model(tmp_path / "one")))
    assert (several.lm_head.parts[0][0] is several.model.embed_tokens.matrix) == tied


def test_biases_of_all_projections_are_kept(tmp_path: Path) -> None:
    config = CONFIGS["llama"]()
    config.attention_bias = config.mlp_bias = True
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    model.save_pretrained(tmp_path)
    assert ((logits(load_cpu_model(tmp_path)) - logits(model)).norm() / logits(model).norm()).item() < 0.03


def test_another_activation_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = CONFIGS["llama"]()
    config.hidden_act = "gelu"
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="activation gelu"):
        load_cpu_model(tmp_path)


def test_without_kernels_int8_is_refused_and_auto_is_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model("qwen2").save_pretrained(tmp_path)
    assert chosen_precision("auto", "cpu", tmp_path) == "int8"
    monkeypatch.setattr(kernels, "levels", lambda: ())
    assert chosen_precision("auto", "cpu", tmp_path) == "float32"
    with pytest.raises(ModelError, match="C compiler"):
        load_cpu_model(tmp_path)


@pytest.mark.parametrize("lost", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight", "model.norm.weight"])
def test_a_missing_tensor_is_named(lost: str, tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    state = {name: tensor for name, tensor in model.state_dict().items() if name != lost}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ModelError, match=lost):
        load_cpu_model(tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = float("nan")
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight that are not finite"):
        load_cpu_model(tmp_path)
