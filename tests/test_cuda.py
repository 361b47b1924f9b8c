"""What changes on a GPU: the torch backend's numbers, a tail in its pass, training. `make test-cuda`; it runs on CPUs as well.

Every model is a tiny random one; what is computed on the GPU is compared with the CPU.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_gen import GuidedGenerator
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.loading import chosen_precision, device_kind, load_model
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.scorers import value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import Tree
from guided_gen.engine.tree_policies import MCTS, ForkingSearch
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.model import ValueModel

from .engine.tiny_models import ARCHITECTURES, tiny_model
from .guided_gen.commands import succeed, write_problems
from .guided_gen.made_up_rollouts import write_rollouts
from .valuemodel.made_up import packed_values, tiny_base, trained

pytestmark = pytest.mark.cuda
PROMPT = [7 + i * i % 290 for i in range(40)]
CLOSE = 2e-3


def searched(model: Any, prompt: list[int] = PROMPT, **settings: Any) -> Tree:
    search = Search(model, Prompt(prompt), SearchSettings(**({"n": 6, "max_new_tokens": 40, "seed": 3} | settings)))
    run(model, [search])
    model.close(search.session)
    return search.tree


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_tokens_and_log_probabilities_are_the_cpu_s(architecture: str) -> None:
    model = tiny_model(architecture)
    there, here = TorchLanguageModel(copy.deepcopy(model).to(device_kind())), TorchLanguageModel(model)
    tree, other = (searched(one, n=1, sampling=Sampling(0)) for one in (there, here))
    assert tree.nodes.token_id.tolist() == other.nodes.token_id.tolist()
    np.testing.assert_allclose(tree.nodes.logprob, other.nodes.logprob, atol=CLOSE)
    ids = other.nodes.token_id.tolist()
    np.testing.assert_allclose(there.logprobs(PROMPT, ids), here.logprobs(PROMPT, ids), atol=CLOSE)


@pytest.mark.parametrize("policy", [ForkingSearch(), MCTS()], ids=lambda policy: type(policy).__name__)
@pytest.mark.parametrize(("fork_layer", "tail_layers"), [(2, 2), (3, 0)])
def test_values_in_the_pass_are_those_of_one_pass_on_the_cpu(fork_layer: int, tail_layers: int, policy: Any) -> None:
    base = tiny_base("qwen2")
    model = trained(ValueModel.from_base(base, fork_layer, HeadSettings(("last", "mean", "logprob")), tail_layers))
    tail = copy.deepcopy(model).engine_tail(torch.float32, device_kind())
    engine = TorchLanguageModel(copy.deepcopy(base).to(device_kind()), tail)
    prompt = [3, 4, 5, 6, 7]
    tree = searched(engine, prompt, policy=policy, scorer=value, check_every=8, budget=120)
    known = ~np.isnan(tree.nodes.value)
    assert known.any()
    np.testing.assert_allclose(tree.nodes.value[known], packed_values(model, base, tree, prompt)[known], atol=CLOSE)


def test_a_folder_is_loaded_in_bfloat16_and_solves(tiny_folder: Path) -> None:
    if device_kind() == "cuda":
        assert chosen_precision("auto", "cuda", tiny_folder) == "bfloat16"
    loaded = load_model(str(tiny_folder), "bfloat16")
    assert loaded.precision == "bfloat16"
    with GuidedGenerator(loaded) as generator:
        assert len(generator.solve("Write f(x) that adds two.", n=4, max_new_tokens=16).candidates) > 1


@pytest.mark.parametrize("tune", ["full", "lora", "head"])
def test_training_makes_a_value_model_that_solve_uses(tune: str, tiny_folder: Path, tmp_path: Path) -> None:
    questions = [f"Write f(x) that adds {i}." for i in range(10)]
    problems = write_problems(tmp_path / "made.jsonl", questions, inputs=[[1], [2], [3]], outputs=[1, 2, 3])
    write_rollouts(tmp_path / "data", tiny_folder, problems, samples=6, most=12)
    shape = () if tune == "head" else ("--fork-layer", 1)
    succeed(
        *("train", "--data", tmp_path / "data", "--out", tmp_path / "value", "--model", tiny_folder, "--problems", problems),
        *("--cache", tmp_path / "cache", "--validation-share", 0.3, "--epochs", 1, "--tune", tune, *shape),
    )
    asked = ("solve", "Write f(x) that adds 3.", "--model", tiny_folder, "--precision", "float32", "--max-new-tokens", 12)
    found = json.loads(succeed(*asked, "--value", tmp_path / "value", "--json").stdout)
    assert all(0 < candidate["values"][-1] < 1 for candidate in found["candidates"])
