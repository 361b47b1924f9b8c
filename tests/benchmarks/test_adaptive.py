"""Adaptive search by replay, on made-up pools whose evidence tells all: when it ends, when it goes on, what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from guided_gen.benchmarks.adaptive import AdaptiveReplay, Problem, Rule, adaptive_figures, adaptive_markdown
from guided_gen.benchmarks.evidence_pools import EvidencePool
from guided_gen.benchmarks.replay import ReplaySettings
from guided_gen.data_builder.stored_executions import StoredExecutions
from guided_gen.engine.scorers import mean_logprob
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.valuemodel.evidence import Column, EvidenceModel

LENGTH = 5
TELLS = EvidenceModel({"all examples": Column(20.0, 0.5)}, 0.0)
SETTINGS = ReplaySettings(check_every=1, resamples=4)


def problem(*correct: bool, number: int = 0) -> Problem:
    """A pool of one answer of `LENGTH` tokens a sample; those that are correct pass the example."""
    tree = Tree.below([number], {"problem": f"made/{number}", "max_new_tokens": 20, "status": "independent"})
    for sample in range(len(correct)):
        node = ROOT
        for token in (10 + sample, *[3] * (LENGTH - 2), 2):
            node = tree.add_node(node, token, logprob=-0.5)
        tree.add_rollout(node, ROOT, Ended.EOS, sample)
    tree.verdicts = ["passed" if one else "wrong_answer" for one in correct]
    rows, told = np.arange(len(correct)), np.asarray(correct)
    stored = StoredExecutions(
        problem=f"made/{number}",
        key="",
        examples=1,
        rollouts=rows,
        counts=np.ones(len(correct), np.int64),
        parses=np.ones(len(correct), bool),
        passed=told.astype(np.int64),
        classes=told.astype(np.int64)[:, None],
        results=np.ones((len(correct), 1), bool),
        writers=np.zeros((len(correct), 1), bool),
    )
    return Problem.of(tree, stored, EvidencePool.of(tree, stored), TELLS)


def searched(one: Problem, **changes: Any) -> dict[str, float]:
    rule = Rule("best-of-n", **({"n": 1, "most": 4, "enough": 0.9} | changes))
    return AdaptiveReplay(one, one.pool.leaves.tolist(), rule, mean_logprob, SETTINGS).run()


def test_it_ends_with_the_first_that_is_likely_enough() -> None:
    found = searched(problem(False, True, False, True))
    assert (found["samples"], found["tokens"], found["pass@1"]) == (2, 2 * LENGTH, 1.0)
    together = searched(problem(False, True, False, True), n=2)
    assert (together["samples"], together["steps"]) == (2, LENGTH)


def test_while_none_is_it_goes_on_as_far_as_most_and_the_budget_allow() -> None:
    hopeless = problem(*[False] * 6)
    assert searched(hopeless)["samples"] == 4
    assert searched(hopeless, most=6)["tokens"] == 6 * LENGTH
    assert searched(hopeless, most=6, budget=12)["tokens"] == 12
    assert searched(hopeless)["pass@1"] == 0


def test_where_none_can_be_likely_enough_it_is_best_of_n() -> None:
    pools = [problem(*(number == place for place in range(4)), number=number) for number in range(5)]
    same = Rule("best-of-n", 4, 4, enough=1.5)
    arms = adaptive_figures(pools, [same, Rule("best-of-n", 1, 4, 0.9)], mean_logprob, SETTINGS, curve=(1, 2, 4))["arms"]
    whole, same_arm, ending = arms[2], arms[3], arms[4]
    assert same_arm["tokens"] == whole["tokens"] == 4 * LENGTH
    assert same_arm["pass@1"] == whole["pass@1"] == ending["pass@1"]
    assert whole["pass@1"]["value"] == pytest.approx(0.8)
    assert ending["share"]["value"] < 1
    assert ending["lead"]["value"] > 0
    assert whole["lead"]["value"] == same_arm["lead"]["value"] == 0


def test_the_table_has_a_row_an_arm() -> None:
    figures = adaptive_figures([problem(True, False)], [Rule("best-of-n", 1, 2, 0.9, 30)], mean_logprob, SETTINGS, curve=(1, 2))
    text = adaptive_markdown(figures)
    assert text.count("| best-of-n |") == 3
    assert "| 0.9 | 30 |" in text
