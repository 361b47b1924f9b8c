"""One value model, three ways to run it: on a packed tree, on each path by itself, token by token in the engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.models.loading import load_cpu_model
from guided_gen.engine.policies import Policy
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.scorers import value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Tree
from guided_gen.engine.tree_policies import DVTS, MCTS, ForkingSearch
from guided_gen.valuemodel.base_layers import shared_states
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import MadeFor, ValueModelError, ValueModelMismatch
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.packing import PromptedTree, pack_tree

from .made_up import packed_values, tiny_base, trained

MakeTree = Callable[..., PromptedTree]
HEADS = [
    HeadSettings(("last",)),
    HeadSettings(("mean",)),
    HeadSettings(("last", "mean", "logprob")),
    HeadSettings(("last", "mean", "logprob"), hidden=5),
]
FORKS = [(0, 4), (2, 2), (4, 0), (3, 0), (1, 2)]


def value_of_path(model: ValueModel, base: Any, tree: Tree, prompt_ids: Any, leaf: int) -> np.ndarray:
    """By definition: transformers' own model with the tail's layers in their place reads prompt and path, [depth]."""
    separate = copy.deepcopy(base)
    decoder, fork = separate.get_decoder(), model.settings.fork_layer
    decoder.layers = torch.nn.ModuleList([*decoder.layers[:fork], *copy.deepcopy(model.tail.layers)])
    for i, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx, layer.self_attn.config = i, decoder.config
    decoder.config.num_hidden_layers = len(decoder.layers)
    decoder.norm = model.tail.norm
    ids = torch.tensor([[*prompt_ids, *tree.tokens(leaf).tolist()]])
    with torch.no_grad():
        states = decoder(ids, use_cache=False).last_hidden_state[0, len(prompt_ids) :]
        emitted = model.head.emit(states)
        counts = torch.arange(1, len(states) + 1)
        mean = emitted.cumsum(0) / counts[:, None]
        logprob = torch.from_numpy(tree.nodes.logprob[tree.path(leaf)]).cumsum(0) / counts
        return torch.sigmoid(model.head.logit(emitted, mean, logprob)).numpy()


@pytest.mark.parametrize(("fork_layer", "tail_layers"), FORKS)
def test_packed_values_equal_each_paths_own_forward_pass(
    base: Any, make_tree: MakeTree, fork_layer: int, tail_layers: int
) -> None:

    model = trained(ValueModel.from_base(base, fork_layer, HEADS[-1], tail_layers))
    assert_equal_on_every_path(model, base, make_tree(5, rollouts=8, longest=20))


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_every_heads_packed_values_equal_each_paths_own(qwen: Any, make_tree: MakeTree, head: HeadSettings) -> None:
    assert_equal_on_every_path(trained(ValueModel.from_base(qwen, 2, head)), qwen, make_tree(4, rollouts=8, longest=20))


def assert_equal_on_every_path(model: ValueModel, base: Any, tree: PromptedTree) -> None:
    values = packed_values(model, base, tree.tree, tree.prompt_ids)
    assert values.std() > 1e-3
    for leaf in tree.tree.rollouts.leaf.tolist():
        alone = value_of_path(model, base, tree.tree, tree.prompt_ids, leaf)
        assert np.allclose(values[tree.tree.path(leaf)], alone, atol=1e-5)


@pytest.mark.parametrize(("fork_layer", "tail_layers"), FORKS)
def test_a_shared_tail_equals_a_separate_model_with_the_same_weights(
    base: Any, make_tree: MakeTree, fork_layer: int, tail_layers: int
) -> None:
    """The same layers, once above the shared ones and once as a model of its own from the embedding on."""
    shared = trained(ValueModel.from_base(base, fork_layer, None, tail_layers))
    separate = ValueModel.from_base(base, 0, None, fork_layer + tail_layers)
    for i, layer in enumerate(shared.tail.layers):
        separate.tail.layers[fork_layer + i].load_state_dict(layer.state_dict())
    separate.tail.norm.load_state_dict(shared.tail.norm.state_dict())
    separate.head.load_state_dict(shared.head.state_dict())
    tree = make_tree(6)
    arguments = base, tree.tree, tree.prompt_ids
    assert np.allclose(packed_values(shared, *arguments), packed_values(separate, *arguments), atol=1e-5)


@pytest.mark.parametrize(
    ("fork_layer", "tail_layers", "lora_rank"), [*((*fork, 0) for fork in FORKS), *((*fork, 2) for fork in FORKS if fork[1])]
)
def test_engine_values_equal_one_forward_pass(base: Any, fork_layer: int, tail_layers: int, lora_rank: int) -> None:
    """Token by token from the caches, after forks at past nodes and after caches were dropped and read anew."""
    head = HeadSettings(("last", "mean", "logprob"))
    model = trained(ValueModel.from_base(base, fork_layer, head, tail_layers, lora_rank=lora_rank))
    separate_base = copy.deepcopy(base)
    tail = copy.deepcopy(model).engine_tail(torch.float32, "cpu")
    engine = TorchLanguageModel(base, tail)
    prompt = [3, 4, 5, 6, 7]
    session = engine.open(Prompt(prompt), Sampling(1.0, 1.0), seed=1)
    leaves = np.full(4, ROOT)
    for _ in range(6):
        leaves = engine.advance([Growth(session, leaves, np.arange(4), 1)])[0]
    engine.keep(session, leaves[:2])
    trunk = session.tree.path(int(leaves[3]))
    grown = np.asarray([leaves[0], trunk[2], trunk[4], ROOT])
    for _ in range(5):
        grown = engine.advance([Growth(session, grown, np.arange(10, 14), 1)])[0]
    everything = np.arange(len(session.tree))
    engine.read([(session, everything)])
    values = session.tree.nodes.value
    assert not np.isnan(values).any()
    assert np.allclose(values, packed_values(model, separate_base, session.tree, prompt), atol=1e-5)


def test_a_saved_folder_does_not_say_where_its_base_lay(base: Any, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path / "base")
    ValueModel.from_base(tmp_path / "base", 2).save_pretrained(tmp_path / "value")
    assert str(tmp_path) not in (tmp_path / "value" / "config.json").read_text()


@pytest.mark.skipif(not cpu_supported(), reason="this machine has no int8 kernels")
def test_a_float_tail_reads_the_states_of_an_int8_base(base: Any, tmp_path: Path) -> None:
    """Rounding to int8 may turn a last bit into a step: equal in most places, close in all."""
    base.save_pretrained(tmp_path)
    model = trained(ValueModel.from_base(tmp_path, 2))
    quantised = load_cpu_model(tmp_path)
    engine = TorchLanguageModel(quantised, copy.deepcopy(model).engine_tail(torch.float32, "cpu"))
    search = Search(engine, Prompt([3, 4, 5]), SearchSettings(n=6, max_new_tokens=20, check_every=4, sampling=Sampling(1.0, 1.0)))
    run(engine, [search])
    everything = np.arange(len(search.tree))
    engine.read([(search.session, everything)])
    difference = np.abs(search.tree.nodes.value - packed_values(model, load_cpu_model(tmp_path), search.tree, [3, 4, 5]))
    assert np.mean(difference < 1e-5) > 0.7 and difference.max() < 0.02


def test_searches_of_several_problems_are_scored_in_one_batch(qwen: Any) -> None:
    model = trained(ValueModel.from_base(qwen, 2))
    engine = TorchLanguageModel(copy.deepcopy(qwen), copy.deepcopy(model).engine_tail(torch.float32, "cpu"))
    prompts = [[3, 4, 5], [9, 8, 7, 6, 5, 4]]
    searches = [Search(engine, Prompt(prompt), SearchSettings(n=5, max_new_tokens=12, check_every=4)) for prompt in prompts]
    run(engine, searches)
    for prompt, search in zip(prompts, searches, strict=True):
        leaves = search.tree.rollouts.leaf
        expected = packed_values(model, qwen, search.tree, prompt)
        assert np.allclose(search.tree.nodes.value[leaves], expected[leaves], atol=1e-5)


@pytest.mark.parametrize("policy", [DVTS(2), ForkingSearch(), MCTS(simulations=4)], ids=repr)
def test_values_of_searches_that_fork_and_return_equal_one_forward_pass(qwen: Any, policy: Policy) -> None:
    model = trained(ValueModel.from_base(qwen, 2, HeadSettings(("last", "mean", "logprob"))))
    engine = TorchLanguageModel(copy.deepcopy(qwen), copy.deepcopy(model).engine_tail(torch.float32, "cpu"))
    settings = SearchSettings(n=5, max_new_tokens=16, check_every=3, policy=policy, scorer=value, stop_ids=frozenset(range(9)))
    search = Search(engine, Prompt([3, 4, 5]), settings)
    run(engine, [search])
    scored = ~np.isnan(search.tree.nodes.value)
    assert scored[search.tree.rollouts.leaf].all()
    expected = packed_values(model, qwen, search.tree, [3, 4, 5])
    assert np.allclose(search.tree.nodes.value[scored], expected[scored], atol=1e-5)


@pytest.mark.parametrize("lora_rank", [0, 2])
def test_save_and_load_is_exact(base: Any, make_tree: MakeTree, tmp_path: Path, lora_rank: int) -> None:
    made_for = MadeFor("tiny", "abc", "float32", "code", "123")
    model = ValueModel.from_base(base, 2, HeadSettings(("last", "logprob"), hidden=3), lora_rank=lora_rank, made_for=made_for)
    trained(model).save_pretrained(tmp_path / "value")
    assert sorted(path.name for path in (tmp_path / "value").iterdir()) == ["config.json", "model.safetensors"]
    again = ValueModel.from_pretrained(tmp_path / "value", base if lora_rank else None)
    assert again.settings == model.settings
    tree = make_tree(7)
    arguments = base, tree.tree, tree.prompt_ids
    assert np.array_equal(packed_values(again, *arguments), packed_values(model, *arguments))


def test_adapters_are_small_and_need_their_base(qwen: Any, tmp_path: Path) -> None:
    ValueModel.from_base(qwen, 2, lora_rank=1).save_pretrained(tmp_path / "adapters")
    ValueModel.from_base(qwen, 2).save_pretrained(tmp_path / "whole")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("adapters", "whole")]
    assert sizes[0] < sizes[1] / 2
    with pytest.raises(ValueModelError, match="base model"):
        ValueModel.from_pretrained(tmp_path / "adapters")


def test_layers_come_from_a_folder_as_from_the_model(base: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path, max_shard_size="20KB")
    tree = make_tree(8)
    values = []
    for source in (base, tmp_path):
        model = trained(ValueModel.from_base(source, 1, None, 2))
        values.append(packed_values(model, base, tree.tree, tree.prompt_ids))
    assert np.array_equal(values[0], values[1])


def test_an_untrained_tail_is_a_copy_of_its_base(base: Any, make_tree: MakeTree) -> None:
    tree = make_tree(9)
    pack = pack_tree(tree.tree, tree.prompt_ids)
    model = ValueModel.from_base(base, 1)
    below, top = shared_states(base, pack, [1, 4])
    with torch.no_grad():
        assert torch.allclose(model.tail_states(below, pack), base.get_decoder().norm(top)[pack.rows], atol=1e-5)


def test_states_of_half_precision_go_through_a_tail_in_full(qwen: Any, make_tree: MakeTree) -> None:
    tree = make_tree(10)
    arguments = tree.tree, tree.prompt_ids
    model = trained(ValueModel.from_base(qwen, 2))
    exact = packed_values(model, qwen, *arguments)
    rounded = packed_values(model, qwen.to(torch.bfloat16), *arguments)
    assert np.allclose(exact, rounded, atol=0.05) and not np.array_equal(exact, rounded)


@pytest.mark.parametrize("field", ["model_sha256", "precision", "template_hash"])
def test_another_base_precision_or_template_is_refused(field: str) -> None:
    metadata = {"model": "a/b", "model_sha256": "abc", "precision": "int8", "template": "code", "template_hash": "123"}
    made_for = MadeFor.of(metadata | {"problem": "apps-train/1"})
    made_for.check(metadata)
    with pytest.raises(ValueModelMismatch, match="trained"):
        made_for.check(metadata | {field: "other"})


@pytest.mark.parametrize(("fork_layer", "tail_layers"), [(5, None), (-1, None), (3, 2), (2, -1)])
def test_layers_that_a_base_does_not_have_are_refused(qwen: Any, fork_layer: int, tail_layers: int | None) -> None:
    with pytest.raises(ValueModelError):
        ValueModel.from_base(qwen, fork_layer, None, tail_layers)


@pytest.mark.parametrize("features", [(), ("logprob",), ("last", "first")])
def test_heads_without_a_state_or_with_unknown_features_are_refused(features: tuple[str, ...]) -> None:
    with pytest.raises(ValueModelError):
        HeadSettings(features)


def test_damaged_and_foreign_folders_are_refused(qwen: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueModelError, match=r"config\.json"):
        ValueModel.from_pretrained(tmp_path / "nothing")
    qwen.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueModelError, match="no value model"):
        ValueModel.from_pretrained(tmp_path / "model")
    ValueModel.from_base(qwen, 2).save_pretrained(tmp_path / "value")
    weights = tmp_path / "value" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueModelError, match="cannot be read"):
        ValueModel.from_pretrained(tmp_path / "value")
    ValueModel.from_base(tiny_base("qwen2"), 3).save_pretrained(tmp_path / "other")
    weights.write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    with pytest.raises(ValueModelError, match="does not"):
        ValueModel.from_pretrained(tmp_path / "value")


def test_a_quantised_base_gives_no_tail(qwen: Any) -> None:
    qwen.get_decoder().layers[3].mlp = torch.nn.Identity()
    with pytest.raises(ValueModelError, match="float"):
        ValueModel.from_base(qwen, 2)
