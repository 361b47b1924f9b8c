from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.forking import STRATEGIES, branch_points
from guided_gen.engine.errors import SettingsError
from guided_gen.engine.tree import ROOT, Tree


def chain(logprobs, entropies=None, margins=None):
    tree, node = Tree.below([1, 2, 3]), ROOT
    for i, logprob in enumerate(logprobs):
        entropy = entropies[i] if entropies else 0.0
        node = tree.add_node(node, i, logprob=logprob, entropy=entropy, margin=margins[i] if margins else 0.0)
    return tree, node


numbers = st.floats(-20, 0, width=32)


@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 10))
def test_forks_are_the_least_probable_tokens(logprobs, count):
    tree, leaf = chain(logprobs)
    points = branch_points(tree, leaf, count)
    assert len(points) == min(count, len(logprobs)) == len(set(points))
    assert points == sorted(points)
    others = set(range(len(logprobs))) - set(points)
    assert max(logprobs[p] for p in points) <= min((logprobs[o] for o in others), default=0.0)


@given(st.lists(numbers, min_size=1, max_size=40), st.integers(1, 10), st.integers(1, 8), st.sampled_from(STRATEGIES))
def test_forks_keep_their_distance_whatever_the_strategy(logprobs, count, distance, strategy):
    tree, leaf = chain(logprobs, entropies=[-x for x in logprobs], margins=logprobs)
    points = branch_points(tree, leaf, count, strategy, distance)
    assert all(later - earlier >= distance for earlier, later in pairwise(points))
    assert 1 <= len(points) <= count


def test_entropy_and_margin_read_their_own_columns():
    tree, leaf = chain([0.0, 0.0, 0.0], entropies=[0.1, 2.0, 1.0], margins=[0.1, 0.9, 0.5])
    assert branch_points(tree, leaf, 1, "entropy") == [1]
    assert branch_points(tree, leaf, 1, "margin") == [0]


def test_random_forks_follow_the_seed():
    tree, leaf = chain(np.linspace(-1, 0, 50).tolist())
    by_seed = [branch_points(tree, leaf, 6, "random", seed=seed) for seed in (1, 1, 2)]
    assert by_seed[0] == by_seed[1] != by_seed[2]


def test_an_unknown_strategy_is_refused():
    tree, leaf = chain([0.0])
    with pytest.raises(SettingsError, match="lowest_prob"):
        branch_points(tree, leaf, 1, "luckiest")
