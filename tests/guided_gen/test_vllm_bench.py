"""The benchmark command with the vLLM backend: the torch backend's searches, and costs that claim no more than vLLM tells."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen.benchmarks.results import RunTrees
from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import Prompts, wanted_for
from guided_gen.valuemodel.model import ValueModel

from .commands import refused, stored, succeed, write_problems

VLLM = ("--backend", "vllm", "--vllm", "enforce_eager=true", "--vllm", "kv_cache_memory_bytes=268435456")


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    questions = [f"Write f(x) that adds one, {'very ' * i}quickly." for i in range(2)]
    return write_problems(path, questions, inputs=[[1], [2], [3]], outputs=[2, 3, 4])


@pytest.fixture(scope="module")
def served_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of a shape that vLLM's CPU kernels take: heads of 32."""
    folder = tmp_path_factory.mktemp("served-model")
    shutil.copytree(tiny_folder, folder, dirs_exist_ok=True)
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config.from_pretrained(tiny_folder, hidden_size=128)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def value(served_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random value model of one layer."""
    made_for = wanted_for(served_folder, "float32", "vllm", Prompts(DEFAULT_TEMPLATE.name, DEFAULT_TEMPLATE.hash))
    model = ValueModel.from_base(served_folder, 1, HeadSettings(("mean",)), 1, made_for=made_for)
    with torch.no_grad():
        model.head.project.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("value")
    model.save_pretrained(folder)
    return folder


def test_searches_are_those_of_the_torch_backend_and_costs_are_not_made_up(
    problems_file: Path, served_folder: Path, value: Path, tmp_path: Path
) -> None:
    common: tuple[object, ...] = (
        *("--problems", problems_file, "--model", served_folder, "--value", value, "--precision", "float32"),
        *("--policies", "best-of-n,beam:width=2", "--n", 4, "--best-of", "", "--max-new-tokens", 24, "--check-every", 8),
        *("--isolation", "rlimits"),
    )
    served, embedded = tmp_path / "served", tmp_path / "embedded"
    command = [sys.executable, "-m", "guided_gen", "bench", *map(str, common), "--out", str(served), *VLLM]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0 and "exited unexpectedly" not in done.stdout, done.stdout
    succeed("bench", *common, "--out", embedded)
    first, *lines = stored(served / "judged.jsonl")
    assert first["run"]["vllm"]["enforce_eager"] is True and len(lines) == 4
    for line in lines:
        assert line["cost"]["seconds"] > 0 and line["cost"]["scoring_seconds"] is line["cost"]["peak_memory_mb"] is None
    for line in stored(served / "searches.jsonl")[1:]:
        tree, other = (RunTrees(folder).load(line["tree"], line["problem"]) for folder in (served, embedded))
        assert tree.nodes.token_id.tolist() == other.nodes.token_id.tolist()
        assert tree.rollouts.ended.tolist() == other.rollouts.ended.tolist()
        assert line["cost"]["tokens"] == len(tree) and line["cost"]["passes"] >= tree.depth.max()
    figures = json.loads((served / "report.json").read_text())
    assert {row["costs"]["scorer_share"] for row in figures["tables"][0]["rows"]} == {None}
    assert "vllm is" in refused("bench", "report", served, embedded, "--out", tmp_path / "both")
