"""The int8 path: outputs near float32's, for every family, and rows that do not feel their batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GPT2Config

from guided_gen.engine.cpu import int8_model
from guided_gen.engine.cpu.int8 import Int8Embedding, Int8Error, Int8Linear, int8_supported
from guided_gen.engine.cpu.int8_model import Int8Model
from guided_gen.engine.models.loading import chosen_precision
from guided_gen.engine.models.stored_tensors import MissingTensor
from guided_gen.valuemodel.base_layers import last_states

from ..tiny_models import ARCHITECTURES, CONFIGS, tiny_model

pytestmark = pytest.mark.skipif(not int8_supported(), reason="this machine has no int8 kernels")
IDS = torch.randint(3, 300, (40,), generator=torch.Generator().manual_seed(1)).tolist()


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    [states] = last_states(model, [IDS])
    return model.lm_head(states)


def divergence(exact: Any, near: Any) -> tuple[float, float]:
    """KL divergence a token, and the entropy that it is small against."""
    p, q = (torch.log_softmax(logits(model), -1) for model in (exact, near))
    return float((p.exp() * (p - q)).sum(-1).mean()), float(-(p.exp() * p).sum(-1).mean())


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_linear_layer_is_near_its_float_layers_whatever_the_tokens_magnitudes() -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(96, 32), nn.Linear(96, 8, bias=False)]
    fused = Int8Linear([layer.weight for layer in layers], [layers[0].bias.detach(), None])
    x = torch.randn(2, 5, 96) * torch.logspace(-6, 6, 5)[:, None]
    expected = torch.cat([layer(x) - (layer.bias if layer.bias is not None else 0) for layer in layers], dim=-1)
    bias = torch.cat([layers[0].bias.detach(), torch.zeros(8)])
    error = (fused(x) - bias - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error[:, 2:].max() < 0.02  # below, the bias hides the product in float32
    assert torch.isfinite(fused(torch.zeros(1, 96))).all()


def test_a_row_is_the_same_alone_and_in_any_batch() -> None:
    torch.manual_seed(0)
    layer = Int8Linear([torch.randn(48, 96)], [None])
    x = torch.randn(64, 96)
    x[::7] *= 1000  # rows that would set the scale of a whole batch
    together = layer(x)
    for rows in (1, 2, 3, 8, 37):
        assert torch.equal(layer(x[5 : 5 + rows]), together[5 : 5 + rows])


def test_an_embedding_is_near_its_float_table() -> None:
    table = nn.Embedding(50, 96)
    ids = torch.tensor([[3, 49], [0, 3]])
    assert ((Int8Embedding(table.weight)(ids) - table(ids)).norm() / table(ids).norm()).item() < 0.01


def test_a_model_is_near_float32(architecture: str, tmp_path: Path) -> None:
    model = tiny_model(architecture)
    model.save_pretrained(tmp_path)
    found, entropy = divergence(model, Int8Model(tmp_path))
    assert found < 0.05 < 0.1 * entropy


@pytest.mark.parametrize("tied", [False, True])
def test_tied_matrices_and_several_files_are_read(architecture: str, tied: bool, tmp_path: Path) -> None:
    config = CONFIGS[architecture]()
    config.tie_word_embeddings = tied
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path / "one")
    model.save_pretrained(tmp_path / "several", max_shard_size="40KB")  # and their index
    several = Int8Model(tmp_path / "several")
    assert ((logits(several) - logits(model)).norm() / logits(model).norm()).item() < 0.03
    assert torch.equal(logits(several), logits(Int8Model(tmp_path / "one")))
    assert several.generation_config.eos_token_id == model.generation_config.eos_token_id
    assert all(tensor.device.type == "cpu" for tensor in [*several.parameters(), *several.buffers()])


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
    assert ((logits(Int8Model(tmp_path)) - logits(model)).norm() / logits(model).norm()).item() < 0.03


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
        {
            "rope_type": "longrope",
            "short_factor": [1.0] * 4,
            "long_factor": [2.0] * 4,
            "factor": 2.0,
            "original_max_position_embeddings": 16,
        },
    ],
    ids=lambda rope: rope["rope_type"],
)
def test_rotary_embeddings_of_every_kind_are_transformers_own(rope: dict[str, Any], tmp_path: Path) -> None:
    config = CONFIGS["llama"]()
    config.rope_parameters = {"rope_theta": 10_000.0, **rope}
    config.max_position_embeddings = 32  # less than is read
    model = AutoModelForCausalLM.from_config(config).eval()
    model.save_pretrained(tmp_path)
    hidden, positions = torch.zeros(1, 40, 32), torch.arange(40)[None]
    for own, theirs in zip(
        Int8Model(tmp_path).get_decoder().rotary_emb(hidden, positions),
        model.get_decoder().rotary_emb(hidden, positions),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs)


def test_another_family_is_refused_in_one_sentence(tmp_path: Path) -> None:
    GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2).save_pretrained(tmp_path)
    with pytest.raises(Int8Error, match="not gpt2"):
        Int8Model(tmp_path)


def test_another_activation_is_refused_in_one_sentence(tmp_path: Path) -> None:
    config = CONFIGS["llama"]()
    config.hidden_act = "gelu"
    config.save_pretrained(tmp_path)
    with pytest.raises(Int8Error, match="not gelu"):
        Int8Model(tmp_path)


def test_without_kernels_int8_is_refused_and_auto_is_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_model("qwen2").save_pretrained(tmp_path)
    assert chosen_precision("auto", "cpu") == "int8"
    monkeypatch.setattr(int8_model.kernels, "levels", lambda: ())
    assert chosen_precision("auto", "cpu") == "float32"
    with pytest.raises(Int8Error, match="C compiler"):
        Int8Model(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    model = tiny_model("qwen2")
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "model.layers.1.mlp.up_proj.weight"}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(MissingTensor, match=r"model\.layers\.1\.mlp\.up_proj\.weight"):
        Int8Model(tmp_path)
