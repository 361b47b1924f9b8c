"""The fit of early stop keeps its promise on problems that it has not seen, and the promise is for one model and its checks."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.policies import EarlyStop, ThresholdCurve
from guided_gen.engine.tree import ROOT, Ended, Tree
from guided_gen.valuemodel.early_stop import chosen_policy, read_curves, save_curves
from guided_gen.valuemodel.early_stop_fit import CurveFamily, TracedRollouts, fit_early_stop
from guided_gen.valuemodel.made_for import ValueModelError

CHECKS = np.arange(16, 160, 16)


def simulated(problems: int, seed: int, rollouts: int = 12) -> TracedRollouts:
    """Values that walk at random around what a problem's difficulty and a rollout's quality make them, and lengths of 20 to 160
    tokens. Problems differ in where their values lie, so that rollouts of one problem are far from independent."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 1, problems)
    problem = np.repeat(np.arange(problems), rollouts)
    quality = difficulty[problem] + rng.normal(0, 1, len(problem))
    correct = rng.random(len(problem)) < expit(quality)
    drift = np.sqrt(CHECKS / 160)
    values = expit(quality[:, None] * drift + rng.normal(0, 0.4, (len(problem), len(CHECKS))).cumsum(axis=1) / 2)
    lengths = rng.integers(20, 160, len(problem))
    values[lengths[:, None] <= CHECKS] = np.nan
    return TracedRollouts(CHECKS, problem, rng.integers(1, 4, len(problem)), correct, lengths, values)


def lost_by(curve: dict[str, Any], new: TracedRollouts) -> tuple[float, float]:
    """The mean over problems of the share of correct rollouts lost and the share of problems that lose all, straight from the
    definition."""
    threshold = ThresholdCurve(tuple(curve["tokens"]), tuple(curve["values"]))
    shares = []
    for problem in range(int(new.problem.max()) + 1):
        total = lost = 0
        for row in np.flatnonzero((new.problem == problem) & new.correct):
            going = new.checks < new.lengths[row]
            below = new.values[row][going] < threshold(new.checks[going])
            total += int(new.counts[row])
            lost += int(new.counts[row]) * bool(below.any())
        if total:
            shares.append(lost / total)
    return float(np.mean(shares)), float(np.mean(np.asarray(shares) == 1))


@cache
def fits() -> tuple[dict[str, Any], ...]:
    return tuple(fit_early_stop(simulated(60, seed), [0.05, 0.1, 0.2]) for seed in range(24))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_new_problems_lose_at_most_the_target_in_expectation_and_not_much_less(number: int) -> None:
    new = simulated(400, 1000)
    target = fits()[0]["curves"][number]["lost"]
    losses = [lost_by(fit["curves"][number], new)[0] for fit in fits()]
    assert np.mean(losses) <= target + 2 * np.std(losses) / len(losses) ** 0.5
    assert np.mean(losses) > target / 3


def test_what_is_reported_is_what_new_problems_lose() -> None:
    new = simulated(400, 1000)
    for number in range(3):
        told = [fit["curves"][number]["cross_validated"] for fit in fits()]
        seen = [lost_by(fit["curves"][number], new) for fit in fits()]
        for name, column in (("correct_lost", 0), ("problems_lost", 1)):
            difference = np.asarray([one[name] for one in told]) - np.asarray([one[column] for one in seen])
            assert abs(difference.mean()) < max(3 * difference.std() / len(seen) ** 0.5, 0.01)


def test_figures_of_the_fit_are_those_of_the_definition() -> None:
    rollouts = simulated(60, 0)
    for curve in fits()[0]["curves"]:
        figures = curve["fitted"]
        assert (figures["correct_lost"], figures["problems_lost"]) == pytest.approx(lost_by(curve, rollouts))


def test_a_larger_share_stops_more_at_every_check() -> None:
    for fit in fits():
        for less, more in pairwise(fit["curves"]):
            assert (np.asarray(more["values"]) >= np.asarray(less["values"])).all()
            for name in ("correct_lost", "wrong_stopped", "tokens_saved"):
                assert more["fitted"][name] >= less["fitted"][name]


def test_a_problem_counts_the_same_however_many_correct_rollouts_it_has() -> None:
    rollouts = simulated(40, 3)
    first = rollouts.problem == 0
    repeated = TracedRollouts(
        rollouts.checks,
        *(
            np.concatenate([column, *[column[first]] * 9])
            for column in (rollouts.problem, rollouts.counts, rollouts.correct, rollouts.lengths, rollouts.values)
        ),
    )
    for curves in zip(*(fit_early_stop(data, [0.1])["curves"] for data in (rollouts, repeated)), strict=True):
        assert curves[0]["values"] == pytest.approx(curves[1]["values"])


def test_a_perfect_value_model_loses_nothing_and_stops_nearly_all_wrong_rollouts() -> None:
    rollouts = simulated(60, 5)
    values = np.where(rollouts.correct[:, None], 0.9, 0.1) + np.random.default_rng(0).normal(0, 0.01, rollouts.values.shape)
    figures = fit_early_stop(replace(rollouts, values=np.where(np.isnan(rollouts.values), np.nan, values)), [0.05])["curves"][0]
    assert figures["cross_validated"]["wrong_stopped"] == 1 and figures["cross_validated"]["correct_lost"] <= 0.05


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueModelError, match="at least 49 problems"):
        fit_early_stop(simulated(40, 0), [0.02])
    with pytest.raises(ValueModelError, match="at least 20 problems"):
        fit_early_stop(simulated(15, 0), [0.3])
    with pytest.raises(ValueModelError, match="between 0 and 1"):
        fit_early_stop(simulated(40, 0), [1.5])
    wrong = simulated(40, 0)
    with pytest.raises(ValueModelError, match="correct rollouts"):
        fit_early_stop(replace(wrong, correct=np.zeros_like(wrong.correct)), [0.1])


def judged_tree(paths: list[list[int]], verdicts: list[str], values: dict[tuple[int, ...], float]) -> Tree:
    tree = Tree.below([1, 2], {"problem": "made/up"})
    for path, verdict in zip(paths, verdicts, strict=True):
        node = ROOT
        for i, token in enumerate(path):
            node = tree.add_node(node, token, value=values.get(tuple(path[: i + 1]), 0.5))
        tree.verdicts[tree.add_rollout(node, ROOT, Ended.EOS, 0)] = verdict
    return tree


def test_traces_are_read_from_trees_at_the_checks_before_each_end() -> None:
    values = {(1, 2): 0.2, (1, 2, 3, 4): 0.4, (1, 2, 3, 4, 5): 0.9, (7, 8): 0.7}
    tree = judged_tree([[1, 2, 3, 4, 5], [7, 8, 9], [7, 8, 9], [1, 2]], ["passed", "failed", "failed", "passed"], values)
    found = TracedRollouts.of([tree], 2)
    assert found.checks.tolist() == [2, 4]
    assert (found.counts.tolist(), found.correct.tolist(), found.lengths.tolist()) == ([1, 2, 1], [True, False, True], [5, 3, 2])
    np.testing.assert_allclose(found.values, [[0.2, 0.4], [0.7, np.nan], [np.nan, np.nan]], rtol=1e-6)
    tree.nodes.value[1] = np.nan
    with pytest.raises(ValueModelError, match="no values"):
        TracedRollouts.of([tree], 2)
    tree.verdicts[tree.add_rollout(3, 1, Ended.EOS, 0)] = "passed"
    with pytest.raises(ValueModelError, match="no pool of independent"):
        TracedRollouts.of([tree], 2)


def test_the_family_falls_with_the_level_and_ends_where_few_problems_go_on() -> None:
    family = CurveFamily.fitted(simulated(60, 0))
    assert (family.values(1.0) < family.values(0.5)).all()
    assert len(family.tokens) <= len(CHECKS)
    assert family.at_checks(1.0, 12)[-1] == family.values(1.0)[-1]


# -- in the value model's folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    save_curves(tmp_path, fits()[0])
    return tmp_path


def test_a_policy_is_chosen_by_the_share_that_may_be_lost(folder: Path) -> None:
    policy = chosen_policy("early-stop:lost=0.05,slack=0.3", ["value"], folder, 16)
    curve = fits()[0]["curves"][0]
    assert policy == EarlyStop(ThresholdCurve(tuple(curve["tokens"]), tuple(curve["values"])), 0.3)
    assert isinstance(policy, EarlyStop) and isinstance(policy.threshold, ThresholdCurve)
    assert [policy.threshold.serves(every) for every in (16, 48, 24, None)] == [True, True, False, False]
    assert chosen_policy("early-stop:lost=0.1", ["value"], str(folder), 48) != policy
    assert chosen_policy("early-stop:threshold=0.2", ["logprob"], None, None) == EarlyStop(0.2)


def test_without_settings_it_is_the_curve_of_one_in_ten_and_with_a_slack_alone_none(folder: Path) -> None:
    plain = chosen_policy("early-stop", ["value"], folder, 16)
    assert plain == chosen_policy("early-stop:lost=0.1", ["value"], folder, 16) != EarlyStop()
    assert chosen_policy("early-stop:slack=0.3", ["value"], folder, 16) == EarlyStop(slack=0.3)


@pytest.mark.parametrize(
    ("text", "scorers", "check_every", "says"),
    [
        ("early-stop:lost=0.03", ["value"], 16, "it holds 0.05, 0.1, 0.2"),
        ("early-stop:lost=few", ["value"], 16, "takes a number"),
        ("early-stop:lost=0.05", ["value", "logprob"], 16, "--scorer value alone"),
        ("early-stop:lost=0.05", ["value"], 24, "every 16 tokens"),
        ("early-stop:lost=0.05", ["value"], None, "at lines"),
        ("early-stop:lost=0.05,threshold=0.1", ["value"], 16, "one threshold"),
        ("early-stop:lost=0.05,depth=3", ["value"], 16, "no setting 'depth'"),
        ("beam:lost=0.05", ["value"], 16, "no setting 'lost'"),
    ],
)
def test_promises_that_do_not_hold_are_not_made(
    folder: Path, text: str, scorers: list[str], check_every: int | None, says: str
) -> None:
    with pytest.raises((ValueModelError, SettingsError), match=says):
        chosen_policy(text, scorers, folder, check_every)


def test_curves_belong_to_the_weights_that_they_were_fitted_to(folder: Path, tmp_path: Path) -> None:
    assert read_curves(folder)["check_every"] == 16
    json.loads((folder / "early_stop.json").read_text())
    (folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(ValueModelError, match="other weights"):
        read_curves(folder)
    with pytest.raises(ValueModelError, match="fit-early-stop"):
        read_curves(tmp_path / "elsewhere")
    with pytest.raises(ValueModelError, match="--value"):
        chosen_policy("early-stop:lost=0.05", ["value"], None, 16)
