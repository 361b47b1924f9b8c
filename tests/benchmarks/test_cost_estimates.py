"""Estimates against what can be counted by hand, and how they depend on the plan."""

from __future__ import annotations

from typing import Any

import pytest

from guided_gen.benchmarks.cost_estimates import Data, Sizes, build_tokens, estimates
from guided_gen.engine.errors import SettingsError

SIZES = {"layers": 24, "hidden": 896, "heads": 14, "kv_heads": 2, "head_dim": 64, "intermediate": 4864, "vocabulary": 151936}
PLAN: dict[str, Any] = {
    "machine": {"devices": 4, "memory_gb": 80, "bandwidth_gb_s": 2000, "tflops": 300},
    "models": {"small": SIZES, "large": SIZES | {"layers": 48}},
    "data": {"problems": 100, "prompt_tokens": 300, "answer_tokens": 100, "kept": 0.5},
}
BUILD = {"model": "small", "out": "d"}
TRAIN = {"model": "small", "out": "v", "data": "d"}


def test_a_known_models_weights_are_counted() -> None:
    assert Sizes(**SIZES).weights == pytest.approx(494_000_000, rel=0.01)
    assert Sizes(**SIZES).cache_bytes == 2 * 24 * 2 * 64 * 2


def test_tokens_are_those_of_tries_and_branches() -> None:
    data = Data(**PLAN["data"])
    assert build_tokens({}, data) == 100 * (8 * 100 + 0.5 * 36 * 50)
    assert build_tokens({"independent": 10}, data) == 100 * 10 * 100
    assert build_tokens({"limit": 10}, data) == build_tokens({}, data) / 10


def test_a_training_reads_what_the_builds_before_it_made() -> None:
    built, trained = estimates([("build", BUILD), ("train", TRAIN)], PLAN)
    assert trained.tokens == built.tokens + 100 * 300
    assert trained.steps == 2 * -(-trained.tokens // (8192 * 4))
    [alone] = estimates([("train", TRAIN)], PLAN | {"data": PLAN["data"] | {"tokens_at_hand": trained.tokens}})
    assert (alone.tokens, alone.device_hours) == (trained.tokens, trained.device_hours)


def test_an_adaptation_takes_its_hours_or_all_problems() -> None:
    asked = {"arguments": ["small"], "out": "d"}
    [whole] = estimates([("adapt", asked | {"hours": 100})], PLAN)
    [built] = estimates([("build", BUILD | {"independent": 10})], PLAN)
    assert (whole.tokens, whole.gigabytes) == (built.tokens, built.gigabytes)
    slow = PLAN | {"machine": PLAN["machine"] | {"devices": 1, "tflops": 0.01, "bandwidth_gb_s": 1}}
    [part] = estimates([("adapt", asked | {"hours": 1})], slow)
    assert part.device_hours == 1
    assert 0 < part.tokens < whole.tokens


def test_a_larger_model_costs_more_and_one_that_is_too_large_is_told() -> None:
    small, large = (estimates([("build", BUILD | {"model": name})], PLAN)[0] for name in ("small", "large"))
    assert large.gigabytes > small.gigabytes
    [cramped] = estimates([("build", BUILD)], PLAN | {"machine": PLAN["machine"] | {"memory_gb": 1}})
    assert small.fits and not cramped.fits


@pytest.mark.parametrize(
    ("change", "message"),
    [({"machine": None}, "needs machine"), ({"data": {"problems": 1}}, "leaves out some of data"), ({"models": {}}, "no sizes")],
)
def test_a_plan_that_leaves_something_out_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        estimates([("build", BUILD)], PLAN | change)
