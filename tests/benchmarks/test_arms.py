"""Arms as a user writes them."""

from __future__ import annotations

import pytest

from guided_gen.benchmarks.arms import arms_named, check_guides, split_policies, split_scorers
from guided_gen.engine.errors import GuidedGenError, SettingsError
from guided_gen.engine.policies import Beam, BestOfN, EarlyStop


def test_settings_belong_to_the_policy_before_them() -> None:
    text = "best-of-n, early-stop:threshold=0.2,slack=0.3,beam:width=2"
    assert split_policies(text) == ["best-of-n", "early-stop:threshold=0.2,slack=0.3", "beam:width=2"]
    arms = arms_named(text, 8, "", None, 16)
    assert [arm.policy for arm in arms] == [BestOfN(), EarlyStop(0.2, 0.3), Beam(2)]
    assert {arm.n for arm in arms} == {8}


def test_best_of_n_gets_its_curve_below_n() -> None:
    arms = arms_named("best-of-n,beam", 8, "4,1,8,16", None, 16)
    assert [(arm.name, arm.n) for arm in arms] == [("best-of-n", 8), ("beam", 8), ("best-of-n", 1), ("best-of-n", 4)]


def test_only_best_of_n_without_a_budget_asks_no_scorer() -> None:
    best, beam = arms_named("best-of-n,beam", 8, "", None, 16)
    assert best.blind(None) and not best.blind(100) and not beam.blind(None)


def test_a_policy_with_other_settings_is_another() -> None:
    two, four, same = (arms_named(text, 8, "", None, 16)[0] for text in ("beam:width=2", "beam:width=4", "beam"))
    assert two.settings != four.settings == same.settings


@pytest.mark.parametrize("policies", ["", "width=2", "beam,beam", "luck", "beam:height=2", "early-stop:lost=0.05"])
def test_nonsense_is_refused(policies: str) -> None:
    with pytest.raises(GuidedGenError):
        arms_named(policies, 8, "", None, 16)


def test_numbers_of_candidates_and_scorers_are_checked() -> None:
    for best_of in ("x", "0"):
        with pytest.raises(SettingsError):
            arms_named("beam", 8, best_of, None, 16)
    for scorers in ("", "value,value"):
        with pytest.raises(SettingsError):
            split_scorers(scorers)


def test_an_arm_that_no_guide_goes_with_is_refused() -> None:
    [arm] = arms_named("beam", 8, "", None, 16)
    check_guides([arm], ["logprob"])
    from dataclasses import replace

    with pytest.raises(SettingsError, match="value"):
        check_guides([replace(arm, guides=("value",))], ["logprob"])
