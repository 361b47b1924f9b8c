"""A packed tree is its paths, each token once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import Tree
from guided_gen.valuemodel.base_layers import BlockLayout, FlexLayout, shared_states
from guided_gen.valuemodel.packing import Pack, PromptedTree, join_packs, pack_tree, path_means

MakeTree = Callable[..., PromptedTree]


def tree_of(parents: list[int]) -> Tree:
    tree = Tree.below([1, 2, 3])
    for node, parent in enumerate(parents):
        tree.add_node(parent, node, logprob=-0.5)
    return tree


any_tree = st.lists(st.floats(0, 1), min_size=1, max_size=40).map(
    lambda shares: tree_of([int(share * (node + 1)) - 1 if share < 1 else node - 1 for node, share in enumerate(shares)])
)


def path_mask(pack: Pack) -> torch.Tensor:
    """The attention mask as transformers takes it: bool [1, 1, T, T], true where the row's token sees the column's."""
    order = torch.arange(len(pack))
    return ((order <= order[:, None]) & (order[:, None] < pack.ends))[None, None]


def ancestors(tree: Tree, node: int) -> set[int]:
    return set(tree.path(node).tolist())


@given(any_tree)
def test_a_token_attends_to_its_prompt_and_path_and_to_nothing_else(tree: Tree) -> None:
    pack = pack_tree(tree, [1, 2, 3])
    mask = path_mask(pack)[0, 0].numpy()
    place = {node: 3 + i for i, node in enumerate(pack.nodes.tolist())}
    assert np.array_equal(mask[:3], np.tri(3, len(pack), dtype=bool))
    for node, row in place.items():
        assert set(np.flatnonzero(mask[row])) == {0, 1, 2} | {place[above] for above in ancestors(tree, node)}


@given(any_tree)
def test_positions_follow_depth_and_every_node_is_packed_once(tree: Tree) -> None:
    pack = pack_tree(tree, [1, 2, 3])
    assert sorted(pack.nodes.tolist()) == list(range(len(tree)))
    assert pack.positions[3:].tolist() == (2 + tree.depth[pack.nodes.numpy()]).tolist()
    assert pack.token_ids[3:].tolist() == tree.nodes.token_id[pack.nodes.numpy()].tolist()


@given(any_tree, st.integers(0, 100))
def test_path_means_equal_the_mean_over_each_path(tree: Tree, seed: int) -> None:
    numbers = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(tree), 2)) * 1000)
    pack = join_packs([pack_tree(tree_of([-1, -1]), [1]), pack_tree(tree, [1, 2, 3])])
    packed = torch.cat([torch.full((2, 2), 1e9, dtype=torch.float64), numbers[pack.nodes[2:]]])
    means = path_means(packed, pack)[2:]
    for row, node in enumerate(pack.nodes[2:].tolist()):
        assert torch.allclose(means[row], numbers[tree.path(node)].mean(0), atol=1e-6)


def test_joined_packs_do_not_see_each_other(make_tree: MakeTree) -> None:
    packs = [pack_tree(tree.tree, tree.prompt_ids) for tree in (make_tree(0), make_tree(1))]
    mask = path_mask(join_packs(packs))[0, 0]
    whole = torch.block_diag(*(path_mask(pack)[0, 0].float() for pack in packs)).bool()
    assert torch.equal(mask, whole)


@pytest.mark.filterwarnings("ignore:flex_attention called without")  # compiled on CUDA only
@pytest.mark.parametrize("layout", ["flex", 1, 3, 7, 64])
def test_packed_attention_equals_attention_with_the_whole_mask(make_tree: MakeTree, layout: str | int) -> None:
    pack = join_packs([pack_tree(tree.tree, tree.prompt_ids) for tree in (make_tree(0), make_tree(1, longest=30))])
    torch.manual_seed(0)
    query, key, value = torch.randn(1, 4, len(pack), 16), torch.randn(1, 2, len(pack), 16), torch.randn(1, 2, len(pack), 16)
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value, path_mask(pack), scale=0.3, enable_gqa=True)
    ours = FlexLayout(pack) if layout == "flex" else BlockLayout(pack, int(layout))
    assert torch.allclose(ours.attend(0, query, key, value, 0.3), plain.transpose(1, 2), atol=1e-6)


def test_packed_states_equal_transformers_own_on_every_path(base: Any, make_tree: MakeTree) -> None:
    tree = make_tree(3, rollouts=8, longest=20)
    pack = pack_tree(tree.tree, tree.prompt_ids)
    wanted = [0, 1, 4]
    packed = shared_states(base, pack, wanted)
    place = dict(zip(pack.nodes.tolist(), pack.rows.tolist(), strict=True))
    raw: list[torch.Tensor] = []
    hook = base.get_decoder().norm.register_forward_pre_hook(lambda module, inputs: raw.append(inputs[0][0]))
    for leaf in tree.tree.rollouts.leaf.tolist():
        path = tree.tree.path(leaf)
        ids = torch.tensor([[*tree.prompt_ids, *tree.tree.tokens(leaf).tolist()]])
        with torch.no_grad():
            hidden = base(ids, output_hidden_states=True).hidden_states
        rows = [*range(len(tree.prompt_ids)), *(place[node] for node in path.tolist())]
        for layer, states in zip(wanted, packed, strict=True):
            expected = raw[-1] if layer == 4 else hidden[layer][0]
            assert torch.allclose(states[rows], expected, atol=1e-5)
    hook.remove()


def test_the_prompt_must_be_the_trees_own(make_tree: MakeTree) -> None:
    tree = make_tree(0)
    with pytest.raises(DataError, match="prompt"):
        PromptedTree(tree.tree, (*tree.prompt_ids, 7), tree.problem)


def test_a_pack_moves_as_one(make_tree: MakeTree) -> None:
    pack = pack_tree(make_tree(0).tree, make_tree(0).prompt_ids)
    assert isinstance(pack.to("cpu"), Pack) and torch.equal(pack.to("cpu").ends, pack.ends)
