"""A GGUF of each family computes what the transformers model that it was written from does, or is refused in one sentence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, Qwen2Config, Qwen3Config

from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.errors import GuidedGenError
from guided_gen.engine.models.architecture import architecture_of_config, architecture_of_gguf
from guided_gen.engine.models.float_models import float_model
from guided_gen.engine.models.gguf_file import GgufFile
from guided_gen.engine.models.loading import load_cpu_model
from guided_gen.valuemodel.base_layers import last_states

from ..gguf_files import write_gguf

SHAPE: dict[str, Any] = {
    "vocab_size": 288,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 64}
YARN_ENTRIES = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3 |= {"original_max_position_embeddings": 64}
LONG = {"rope_type": "longrope", "rope_theta": 10_000.0, "partial_rotary_factor": 0.5, "original_max_position_embeddings": 64}
LONG |= {"short_factor": [1.0, 1.2, 1.4, 1.6], "long_factor": [2.0, 3.0, 4.0, 5.0]}
LLAMA3_DIVISORS = {"rope_freqs": np.array([1.0, 1.5, 2.0, 3.0, 8.0, 8.0, 8.0, 8.0])}

MODELS: dict[str, tuple[Any, dict[str, Any], dict[str, np.ndarray]]] = {
    "qwen2": (Qwen2Config(**SHAPE, num_key_value_heads=2), {}, {}),
    "qwen2, tied": (Qwen2Config(**SHAPE, num_key_value_heads=2, tie_word_embeddings=True), {}, {}),
    "qwen2, yarn": (Qwen2Config(**SHAPE, num_key_value_heads=2, rope_parameters=YARN), YARN_ENTRIES, {}),
    "qwen3": (Qwen3Config(**SHAPE, num_key_value_heads=2, head_dim=32), {}, {}),
    "llama": (LlamaConfig(**SHAPE, num_key_value_heads=1), {}, {}),
    "llama, biased": (LlamaConfig(**SHAPE, num_key_value_heads=2, attention_bias=True, mlp_bias=True), {}, {}),
    "llama, linear": (
        LlamaConfig(**SHAPE, num_key_value_heads=2, rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}),
        {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0},
        {},
    ),
    "llama, rope_freqs": (
        LlamaConfig(
            **SHAPE,
            num_key_value_heads=2,
            rope_parameters={
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": LLAMA3_DIVISORS["rope_freqs"].tolist(),
                "long_factor": LLAMA3_DIVISORS["rope_freqs"].tolist(),
                "original_max_position_embeddings": 256,
                "attention_factor": 1.0,
            },
        ),
        {},
        LLAMA3_DIVISORS,
    ),
    "phi3": (Phi3Config(**SHAPE, num_key_value_heads=4, pad_token_id=0), {}, {}),
    "phi3, longrope": (
        Phi3Config(**SHAPE, num_key_value_heads=2, pad_token_id=0, rope_parameters=LONG, original_max_position_embeddings=64),
        {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": math.sqrt(1 + math.log(4) / math.log(64))},
        {"rope_factors_short": np.array(LONG["short_factor"]), "rope_factors_long": np.array(LONG["long_factor"])},
    ),
}
IDS = torch.randint(3, 288, (40,), generator=torch.Generator().manual_seed(1)).tolist()


def random_model(config: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter *= 3
            if name.endswith("bias"):
                parameter.normal_()
    model.set_attn_implementation("eager")
    return model


@torch.inference_mode()
def logits(model: Any) -> torch.Tensor:
    if hasattr(model, "forward") and hasattr(model, "generate"):
        model.set_attn_implementation("eager")
        return model(torch.tensor([IDS])).logits[0]
    [states] = last_states(model, [IDS])
    return model.lm_head(states)


@pytest.fixture(params=list(MODELS))
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Path]:
    config, metadata, tensors = MODELS[request.param]
    model = random_model(config)
    write_gguf(
        model,
        tmp_path / "model.gguf",
        "F32",
        {k: v if isinstance(v, (str, int)) else float(v) for k, v in metadata.items()},
        **tensors,
    )
    return model, tmp_path / "model.gguf"


def test_floats_of_a_gguf_compute_what_the_model_did(written: tuple[Any, Path]) -> None:
    model, path = written
    torch.testing.assert_close(logits(float_model(path, torch.float32)), logits(model), atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(not cpu_supported(), reason="this machine has no kernels")
def test_blocks_of_a_gguf_are_near_the_model(written: tuple[Any, Path]) -> None:
    model, path = written
    assert ((logits(load_cpu_model(path)) - logits(model)).norm() / logits(model).norm()).item() < 0.1


def test_a_gguf_and_a_folder_describe_the_same_architecture(written: tuple[Any, Path]) -> None:
    model, path = written
    with GgufFile(path) as file:
        found = architecture_of_gguf(file)
    expected = architecture_of_config(model.config)
    ignored = {"rope_parameters", "rms_norm_eps"}
    assert {k: v for k, v in vars(found).items() if k not in ignored} == {
        k: v for k, v in vars(expected).items() if k not in ignored
    }


@pytest.mark.skipif(not cpu_supported(), reason="this machine has no kernels")
@pytest.mark.parametrize("kind", ["Q4_0", "Q5_0", "Q8_0", "F16", "BF16"])
def test_blocks_and_the_floats_that_they_stand_for_compute_the_same(kind: str, tmp_path: Path) -> None:
    write_gguf(random_model(MODELS["llama"][0]), tmp_path / "model.gguf", kind)
    exact = logits(float_model(tmp_path / "model.gguf", torch.float32))
    assert ((logits(load_cpu_model(tmp_path / "model.gguf")) - exact).norm() / exact.norm()).item() < 0.05


REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, np.ndarray], str]] = {
    "a soft cap": ("llama", {"attn_logit_softcapping": 50.0}, {}, "sets llama.attn_logit_softcapping, which is not covered"),
    "a scale of logits": ("llama", {"logit_scale": 0.5}, {}, "sets llama.logit_scale"),
    "experts": ("llama", {"expert_count": 8}, {}, "sets llama.expert_count"),
    "another scaling": ("llama", {"rope.scaling.type": "spiral"}, {}, "by 'spiral'"),
    "a yarn of its own": ("qwen2", {**YARN_ENTRIES, "rope.scaling.yarn_log_multiplier": 0.1}, {}, "yarn_log_multiplier"),
    "values of another width": ("llama", {"attention.value_length_mla": 8}, {}, "value_length_mla"),
    "a tensor of no use": ("qwen2", {}, {"blk.0.attn_sinks": np.ones(4)}, "holds the tensor blk.0.attn_sinks.weight"),
    "too many layers": ("qwen2", {"leading_dense_block_count": 1}, {}, "leading_dense_block_count"),
}


@pytest.mark.parametrize(("model", "metadata", "tensors", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_covered_is_refused_in_one_sentence(
    model: str, metadata: dict[str, Any], tensors: dict[str, np.ndarray], sentence: str, tmp_path: Path
) -> None:
    write_gguf(random_model(MODELS[model][0]), tmp_path / "model.gguf", "F32", metadata, **tensors)
    for load in (load_cpu_model, lambda path: float_model(path, torch.float32)):
        with pytest.raises(GuidedGenError, match=sentence) as caught:
            load(tmp_path / "model.gguf")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q5_0", "Q4_0"])
@pytest.mark.parametrize(("part", "stored"), [("mlp.up_proj", "ffn_up"), ("self_attn.q_proj", "attn_q")])
def test_weights_that_are_not_finite_are_refused_in_one_sentence(kind: str, part: str, stored: str, tmp_path: Path) -> None:
    model = random_model(MODELS["llama"][0])
    model.get_parameter(f"model.layers.1.{part}.weight").data[-1, 5] = torch.nan
    with np.errstate(invalid="ignore"):
        write_gguf(model, tmp_path / "model.gguf", kind)
    for load in (load_cpu_model, lambda path: float_model(path, torch.float32)):
        with pytest.raises(GuidedGenError, match=rf"holds numbers in blk\.1\.{stored}\.weight that are not finite") as caught:
            load(tmp_path / "model.gguf")
        assert "\n" not in str(caught.value)


def test_another_family_is_refused(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    writer.add_block_count(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(GuidedGenError, match="of the family mamba, which is not covered; qwen2, qwen3, llama, phi3 are"):
        load_cpu_model(tmp_path / "mamba.gguf")
