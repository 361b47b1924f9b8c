"""Targets: the packed loss is the flat one, classes are balanced by weight, and soft labels come from resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.valuemodel.packing import PromptedTree
from guided_gen.valuemodel.targets import TRUNK_WEIGHT, targets

MakeTree = Callable[..., PromptedTree]


@pytest.mark.parametrize("kind", ["binary", "soft"])
@pytest.mark.parametrize("balanced", [False, True])
def test_weights_of_a_tree_sum_to_one(make_tree: MakeTree, kind: str, balanced: bool) -> None:
    for seed in range(20):
        made = targets(make_tree(seed).tree, kind, balanced)  # type: ignore[arg-type]
        assert made.weights.sum() == pytest.approx(1)
        assert ((made.labels >= 0) & (made.labels <= 1)).all()


@pytest.mark.parametrize("kind", ["binary", "soft"])
def test_balanced_weights_give_either_class_one_half(make_tree: MakeTree, kind: str) -> None:
    for seed in range(20):
        made = targets(make_tree(seed).tree, kind, balanced=True)  # type: ignore[arg-type]
        positive = (made.weights * made.labels).sum()
        assert positive == pytest.approx(0.5) or positive == pytest.approx(0) or positive == pytest.approx(1)


@pytest.mark.parametrize("balanced", [False, True])
def test_binary_targets_are_the_rollouts_one_by_one(make_tree: MakeTree, balanced: bool) -> None:
    """Against the definition: each copy of a rollout spreads its weight evenly over its tokens; balanced, a copy weighs
    1 / (2 n_class)."""
    for seed in range(20):
        tree = make_tree(seed).tree
        copies = [
            (int(leaf), verdict == "passed")
            for leaf, count, verdict in zip(tree.rollouts.leaf, tree.rollouts.multiplicity, tree.verdicts, strict=True)
            for _ in range(int(count))
        ]
        correct = sum(label for _, label in copies)
        sizes = {True: correct, False: len(copies) - correct}
        weights, positive = np.zeros(len(tree)), np.zeros(len(tree))
        for leaf, label in copies:
            share = (1 / (2 * sizes[label]) if balanced else 1 / len(copies)) / tree.depth_of(leaf)
            weights[tree.path(leaf)] += share
            positive[tree.path(leaf)] += share * label
        made = targets(tree, "binary", balanced)
        assert np.allclose(made.weights, weights) and np.allclose(made.weights * made.labels, positive)


def forked_tree() -> Tree:
    """A correct trunk of six tokens 0-5, forked below 1 (one of three passes) and 3 (both pass); a failed try from the prompt."""
    tree = Tree.below([1])
    node = ROOT
    for token in range(6):
        node = tree.add_node(node, token)
    tree.add_rollout(node, ROOT, Ended.EOS, 0)
    tree.verdicts[-1] = "passed"
    for stream, (fork, verdict) in enumerate(
        [(1, "passed"), (1, "wrong_answer"), (1, "exception"), (3, "passed"), (3, "passed"), (ROOT, "timeout")]
    ):
        leaf = tree.add_node(tree.add_node(fork, 10 + stream), 20)
        tree.add_rollout(leaf, fork, Ended.EOS, 1 + stream)
        tree.verdicts[-1] = verdict
    return tree


def test_soft_labels_come_from_the_nearest_fork_below() -> None:
    made = targets(forked_tree(), "soft")
    assert np.allclose(made.labels[:4], [1 / 3, 1 / 3, 1, 1])
    assert np.allclose(made.labels[6:12], [1, 1, 0, 0, 0, 0])
    assert np.allclose(made.labels[-2:], 0)


def test_the_trunk_alone_is_weak_evidence() -> None:
    made = targets(forked_tree(), "soft")
    branch, trunk = made.weights[6], made.weights[5]
    assert trunk == pytest.approx(branch * TRUNK_WEIGHT * 4 / 6)  # the trunk has six tokens, the branch four


def test_unjudged_rollouts_are_no_evidence(make_tree: MakeTree) -> None:
    tree = make_tree(0).tree
    tree.verdicts[2:] = [None] * (len(tree.verdicts) - 2)
    made = targets(tree)
    judged = set(tree.path(int(tree.rollouts.leaf[0]))) | set(tree.path(int(tree.rollouts.leaf[1])))
    assert set(np.flatnonzero(made.weights)) == judged


def test_independent_targets_leave_the_branches_out() -> None:
    made = targets(forked_tree(), independent=True)
    assert not made.weights[6:16].any() and made.weights[:6].all()


def test_a_tree_without_verdicts_is_refused(make_tree: MakeTree) -> None:
    tree = make_tree(0).tree
    tree.verdicts = [None] * len(tree.verdicts)
    with pytest.raises(DataError, match="judged"):
        targets(tree)
