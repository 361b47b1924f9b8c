"""--backend and --vllm: wrong settings are one sentence, before anything is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from guided_gen.cli.options import vllm_settings
from guided_gen.cli.solve import command
from guided_gen.engine.errors import GuidedGenError


@pytest.fixture
def problem(tmp_path: Path) -> str:
    (tmp_path / "problem.txt").write_text("Write a function double(x).\n\ndouble(2) == 4\n")
    return str(tmp_path / "problem.txt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--vllm", "tensor_parallel_size=2"], "--backend vllm"),
        (["--backend", "vllm", "--vllm", "tensor_parallel_size=many"], "whole number"),
        (["--backend", "vllm", "--vllm", "tensors=2"], "tensor_parallel_size"),
    ],
)
def test_a_wrong_setting_is_refused(problem: str, options: list[str], said: str) -> None:
    result = CliRunner().invoke(command, [problem, *options])
    assert isinstance(result.exception, GuidedGenError)
    assert said in str(result.exception)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_without_vllm_solve_says_how_to_install_it(problem: str) -> None:
    result = CliRunner().invoke(command, [problem, "--backend", "vllm"])
    assert isinstance(result.exception, GuidedGenError)
    assert "pip install" in str(result.exception)


def test_settings_belong_to_the_backend() -> None:
    assert vllm_settings({"backend": "torch", "vllm": ()}) is None
    settings = vllm_settings({"backend": "vllm", "vllm": ("max_num_seqs=8",)})
    assert settings is not None
    assert settings.max_num_seqs == 8
