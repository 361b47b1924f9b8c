"""Every family equals transformers, or is refused in one sentence. docs/models.md lists both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from guided_gen.engine.cpu.model import CpuModel
from guided_gen.engine.errors import ContextError, ModelError, SettingsError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.models.architecture import FAMILIES
from guided_gen.engine.models.context import longest_text
from guided_gen.engine.models.float_models import FLOAT_FAMILIES
from guided_gen.engine.models.loading import chosen_precision, load_weights
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT
from guided_gen.engine.vllm_backend.loading import serve
from guided_gen.engine.vllm_backend.settings import VllmSettings
from guided_gen.valuemodel.base_layers import last_states
from guided_gen.valuemodel.made_for import ValueModelError

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
CHANGES: dict[str, dict[str, Any]] = {
    "qwen3": {"head_dim": 16},
    "mistral": {"head_dim": 8},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**EXPERTS, "head_dim": 8},
}
IDS = torch.randint(3, 300, (60,), generator=torch.Generator().manual_seed(1)).tolist()
REFUSED = [
    *("apertus", "bamba", "bert", "bitnet", "bloom", "cohere", "cohere2", "deepseek_v2", "deepseek_v3", "exaone4", "falcon"),
    *("gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe", "helium", "jamba"),
    *("lfm2", "llama4_text", "mamba", "mamba2", "minimax", "mpt", "nemotron", "olmo", "opt", "persimmon", "phi", "phimoe"),
    *("qwen3_next", "recurrent_gemma", "rwkv", "stablelm", "t5", "xglm", "zamba2"),
]


def tiny(family: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **{**SHAPE, **CHANGES.get(family, {}), **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3
    return model.eval()


@torch.no_grad()
def expected(model: Any, ids: list[int] = IDS, first: int = 20) -> torch.Tensor:
    """transformers' own log-probabilities of the tokens from number `first` on."""
    model.set_attn_implementation("eager")
    logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)[first - 1 : -1]
    return logprobs.gather(1, torch.tensor(ids[first:])[:, None])[:, 0]


@pytest.mark.parametrize("family", FLOAT_FAMILIES)
def test_a_covered_family_equals_transformers(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    wanted = expected(model)
    model.save_pretrained(tmp_path)
    found = TorchLanguageModel(load_weights(tmp_path, "float32")).logprobs(IDS[:20], IDS[20:])
    torch.testing.assert_close(torch.from_numpy(found), wanted, atol=5e-5, rtol=1e-4)
    assert chosen_precision("auto", "cpu", tmp_path) == ("int8" if family in FAMILIES else "float32")


@pytest.mark.parametrize("family", REFUSED)
def test_any_other_family_is_refused_in_one_sentence(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family, **SHAPE, "auto_map": {"AutoConfig": "evil.Config"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('the code of a model was run')")
    for precision in ("float32", "int8"):
        with pytest.raises(ModelError, match=f"of the family {family}, which is not covered") as caught:
            load_weights(tmp_path, precision)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError):
        chosen_precision("auto", "cpu", tmp_path)


def test_the_documentation_lists_what_is_tested() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    assert f"In blocks: {', '.join(FAMILIES)}." in " ".join(page.split())
    assert f"In floats: {', '.join(FLOAT_FAMILIES)}." in " ".join(page.split())


CONFIGS = {
    "no JSON": "{",
    "a list": "[]",
    "nested without end": '{"a":' * 100_000,
    "layers without end": json.dumps({"model_type": "qwen2", **SHAPE, "num_hidden_layers": 10**9}),
    "an endless vocabulary": json.dumps({"model_type": "qwen2", **SHAPE, "vocab_size": 10**15}),
    "heads that share nothing": json.dumps({"model_type": "llama", **SHAPE, "num_key_value_heads": 3}),
    "no heads": json.dumps({"model_type": "qwen2", **SHAPE, "num_attention_heads": 0}),
    "sizes of text": json.dumps({"model_type": "qwen2", **SHAPE, "hidden_size": "large"}),
    "quantised by GPTQ": json.dumps({"model_type": "qwen2", **SHAPE, "quantization_config": {"quant_method": "gptq", "bits": 4}}),
    "quantised by AWQ": json.dumps({"model_type": "qwen2", **SHAPE, "quantization_config": {"quant_method": "awq", "bits": 4}}),
    "quantised by bitsandbytes": json.dumps({"model_type": "llama", **SHAPE, "quantization_config": {"load_in_4bit": True}}),
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=list(CONFIGS))
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_configuration_that_makes_no_sense_is_one_sentence(text: str, precision: str, tmp_path: Path) -> None:
    tiny("qwen2").save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        load_weights(tmp_path, precision)
    assert "\n" not in str(caught.value)


FILES = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "an LFS pointer": lambda whole: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 10\n",
    "zeros": lambda whole: bytes(len(whole)),
}


@pytest.mark.parametrize("change", FILES.values(), ids=list(FILES))
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_broken_weights_are_one_sentence(change: Any, precision: str, tmp_path: Path) -> None:
    tiny("qwen2").save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ModelError) as caught:
        load_weights(tmp_path, precision)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lost", ["lm_head.weight", "model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_missing_tensor_is_never_made_up(lost: str, precision: str, tmp_path: Path) -> None:
    model = tiny("qwen2")
    model.save_pretrained(tmp_path, state_dict={k: v for k, v in model.state_dict().items() if k != lost})
    with pytest.raises(ModelError, match=lost):
        load_weights(tmp_path, precision)


@pytest.mark.parametrize("broken", ["model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight", "model.norm.weight"])
@pytest.mark.parametrize("number", [np.nan, -np.inf])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_weights_that_are_not_finite_are_one_sentence(broken: str, number: float, precision: str, tmp_path: Path) -> None:
    model = tiny("qwen2")
    model.get_parameter(broken).data.view(-1)[-5] = number
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"holds numbers in {broken} that are not finite") as caught:
        load_weights(tmp_path, precision)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_sliding_window_is_named_where_it_ends_what_is_read(precision: str, tmp_path: Path) -> None:
    tiny("phi3", sliding_window=24).save_pretrained(tmp_path)
    model = TorchLanguageModel(load_weights(tmp_path, precision))
    assert model.max_length == 24
    with pytest.raises(ContextError, match="40 tokens; the sliding window of this model's attention"):
        model.open(Prompt(IDS[:40]), Sampling(), 0)


LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 64}
LONGROPE |= {"short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}


@pytest.fixture(params=["float32", "int8"])
def longrope(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[TorchLanguageModel, Any]:
    """A model with two sets of frequencies, decoded by us, and transformers' own."""
    model = tiny("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=64)
    model.save_pretrained(tmp_path)
    return TorchLanguageModel(load_weights(tmp_path, request.param)), model


def tolerance(engine: TorchLanguageModel) -> float:
    return 0.5 if isinstance(engine._model, CpuModel) else 5e-5


def searched(engine: TorchLanguageModel, *asked: tuple[list[int], int]) -> list[Any]:
    """The tree below each prompt, with at most so many new tokens, from one batch."""
    searches = [Search(engine, Prompt(ids), SearchSettings(n=3, max_new_tokens=most)) for ids, most in asked]
    run(engine, searches)
    return [search.tree for search in searches]


@pytest.mark.parametrize("tokens", [60, 64, 65, 100])
def test_longrope_reads_a_text_as_transformers_reads_it_whole(longrope: tuple[TorchLanguageModel, Any], tokens: int) -> None:
    engine, model = longrope
    ids = (IDS * 2)[:tokens]
    found = torch.from_numpy(engine.logprobs(ids[:20], ids[20:]))
    torch.testing.assert_close(found, expected(model, ids), atol=tolerance(engine), rtol=1e-3)


def test_longrope_chooses_once_a_search_from_the_longest_text_that_it_may_reach(longrope: tuple[TorchLanguageModel, Any]) -> None:
    engine, model = longrope
    for most, is_long in ((54, False), (55, True), (90, True)):
        [tree] = searched(engine, (IDS[:10], most))
        for leaf in tree.rollouts.leaf.tolist():
            answer = tree.tokens(leaf).tolist()
            padding = [5] * 60 if is_long else []  # transformers chooses by the longest text of its batch
            wanted = expected(model, [*IDS[:10], *answer, *padding], 10)[: len(answer)]
            found = torch.from_numpy(tree.nodes.logprob[tree.path(leaf)])
            torch.testing.assert_close(found, wanted, atol=tolerance(engine), rtol=1e-3)
    assert len(answer) > 54  # beyond the first set


def test_a_short_search_beside_a_long_one_draws_the_same_as_alone(longrope: tuple[TorchLanguageModel, Any]) -> None:
    engine, _ = longrope
    short, long = (IDS[:10], 30), ((IDS * 2)[:100], 40)
    [alone], [long_alone] = searched(engine, short), searched(engine, long)
    beside = searched(engine, long, short)
    assert [tree.nodes.token_id.tolist() for tree in beside] == [tree.nodes.token_id.tolist() for tree in (long_alone, alone)]


def test_a_prompt_that_is_held_is_gone_on_from_only_by_texts_of_its_kind(longrope: tuple[TorchLanguageModel, Any]) -> None:
    engine, _ = longrope
    fresh = [searched(engine, (IDS[:20], most))[0] for most in (20, 100, 20)]
    engine.hold_prefixes(1 << 24)
    held = [searched(engine, (IDS[:20], most))[0] for most in (20, 100, 20)]
    assert [tree.nodes.token_id.tolist() for tree in held] == [tree.nodes.token_id.tolist() for tree in fresh]
    assert len(engine.prefixes) == 2


def test_a_text_that_was_opened_as_a_short_one_does_not_become_a_long_one(longrope: tuple[TorchLanguageModel, Any]) -> None:
    engine, _ = longrope
    session = engine.open(Prompt(IDS, room=4), Sampling(), 0)
    leaves = np.asarray([ROOT])
    for _ in range(5):
        leaves = engine.advance([Growth(session, leaves, np.arange(1), 1)])[0]
    with pytest.raises(ContextError, match="LongRoPE reads this text as one of up to 64 tokens"):
        engine.advance([Growth(session, leaves, np.arange(1), 1)])


def test_value_models_read_by_the_first_set_of_longrope_only(longrope: tuple[TorchLanguageModel, Any]) -> None:
    _, model = longrope
    assert longest_text(model.config)[0] == 512
    assert longest_text(model.config, scored=True)[0] == 64
    with pytest.raises(ValueModelError, match="up to 64 tokens"):
        last_states(model, [(IDS * 2)[:65]])
    assert len(last_states(model, [(IDS * 2)[:64]])[0]) == 64


@pytest.mark.parametrize("most", [None, 65])
def test_vllm_is_asked_for_short_texts_only_where_it_reads_all_by_one_set(most: int | None, tmp_path: Path) -> None:
    tiny("phi3", rope_parameters=LONGROPE, original_max_position_embeddings=64).save_pretrained(tmp_path)
    with pytest.raises(SettingsError, match="set max_model_len to 64 at most"):
        serve(tmp_path, "float32", None, VllmSettings(max_model_len=most))
