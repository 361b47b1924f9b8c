"""What kinds of evidence add, on made-up pools whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from guided_gen.benchmarks.evidence import ALL, apart, arms, calibration_curve, evidence_figures, first_step, fold_models
from guided_gen.benchmarks.evidence_pools import EvidencePool
from guided_gen.benchmarks.evidence_text import evidence_markdown
from guided_gen.valuemodel.evidence import COLUMNS, COMPARED, NEED_VALUES, Finished

WITHOUT_VALUE = [name for name in COLUMNS if name not in NEED_VALUES]


def made_up_pool(number: int, samples: int = 12) -> EvidencePool:
    """Correct answers agree with each other, wrong ones with nobody; two of three problems show examples, which tell all; values
    and log-probabilities are noise.
    """
    rng = np.random.default_rng(number)
    correct = rng.random(samples) < 0.4
    classes = np.where(correct, 0, np.arange(1, samples + 1))[:, None]
    shown = 2 if number % 3 else 0
    found = Finished(
        counts=np.ones(samples, np.int64),
        lengths=np.full(samples, 9),
        logprobs=rng.normal(size=samples),
        ended=np.ones(samples, bool),
        parses=np.ones(samples, bool),
        passed=np.where(correct, shown, 0),
        shown=shown,
        classes=classes,
        results=np.ones((samples, 1), bool),
        values=rng.uniform(0.1, 0.9, samples),
        readings=rng.normal(size=samples),
    )
    return EvidencePool(f"made/{number}", found, np.zeros((samples, 1), bool), correct)


POOLS = [made_up_pool(number) for number in range(30)]
TRAINING = [made_up_pool(number).labelled() for number in range(100, 160)]


def test_evidence_that_tells_closes_the_gap_and_noise_does_not():
    figures = evidence_figures(POOLS, TRAINING, None, n=8, resamples=10)
    gaps = {name: arm["gap@1"]["value"] for name, arm in figures["arms"].items()}
    assert gaps[ALL] > 0.9
    assert gaps["execution"] > 0.8
    assert abs(gaps["value, log-probability"]) < 0.4
    assert figures["arms"][ALL]["auroc"]["value"] > 0.95
    assert figures["arms"][ALL]["change@1"]["value"] == 0
    assert figures["with_examples"] == 20
    assert figures["bounds"]["random@1"]["value"] == pytest.approx(0.4, abs=0.1)
    text = evidence_markdown(figures)
    assert all(f"| {name} |" in text for name in gaps)


def test_a_calibration_of_other_problems_is_taken_as_it_is():
    others = [made_up_pool(number) for number in range(200, 240)]
    figures = evidence_figures(POOLS, TRAINING, others, WITHOUT_VALUE, n=8, resamples=2)
    assert "value" not in figures["arms"]
    assert figures["arms"][ALL]["ece"]["value"] < 0.2


def test_the_curve_says_how_often_candidates_of_a_tenth_are_correct():
    curve = calibration_curve([made_up_pool(n) for n in range(100, 160)], POOLS, WITHOUT_VALUE, 8)
    assert sum(one["share"] for one in curve["bins"]) == pytest.approx(1, abs=1e-3)
    first, last = curve["bins"][0], curve["bins"][-1]
    assert first["correct"] < 0.2
    assert last["correct"] > 0.8


def test_pools_of_one_problem_are_left_out_together_and_count_as_one():
    fitted = [[pool.labelled()] for pool in POOLS for _ in range(2)]
    first, added = first_step(TRAINING, WITHOUT_VALUE)
    models = fold_models(first, added, fitted, [pool.problem for pool in POOLS for _ in range(2)], crossed=True)
    assert all(one is other for one, other in zip(models[::2], models[1::2], strict=True))
    training = [made_up_pool(n) for n in range(100, 160)]
    many = sorted(POOLS * 2, key=lambda pool: pool.problem)
    once, twice = (calibration_curve(training, pools, WITHOUT_VALUE, 8) for pools in (POOLS, many))
    widths = [curve["ece"]["high"] - curve["ece"]["low"] for curve in (once, twice)]
    assert widths[1] > 0.85 * widths[0]  # of twice as many problems it would be 0.7


def test_the_same_pools_give_the_same_figures():
    made = [evidence_figures(POOLS[:6], TRAINING, None, n=8, resamples=3) for _ in range(2)]
    assert made[0] == made[1]


def test_each_arm_leaves_out_what_it_says():
    made = arms()
    assert made[ALL] == COLUMNS
    alone = arms(WITHOUT_VALUE)
    assert len(set(alone.values())) == len(alone) and "reader, log-probability" in alone
    assert list(arms(["log-probability"])) == [ALL]
    assert set(COLUMNS) - set(made["all but examples"]) == {"examples", "all examples"}
    assert "all examples" not in made["execution"]
    assert set(made["all, and each answer's value"]) == {*COLUMNS, *COMPARED}
    assert set(COLUMNS) - set(made["all but value"]) == {"value of all"}
    assert not any({*columns} & {*NEED_VALUES} for columns in alone.values())


def test_a_draw_knows_only_what_its_own_candidates_wrote():
    pool = made_up_pool(0, samples=4)
    writers = np.asarray([[True, False, False], [False, False, False], [False, True, False], [False, False, False]])
    found = pool.found
    wide = Finished(
        **{name: value for name, value in vars(found).items() if name not in ("classes", "results")},
        classes=np.arange(12).reshape(4, 3),
        results=np.ones((4, 3), bool),
    )
    drawn = EvidencePool("made/0", wide, writers, pool.correct).chosen(np.asarray([1, 2]), np.asarray([1, 1]))
    assert drawn.found.classes.tolist() == [[4, 5], [7, 8]]
    assert drawn.correct.tolist() == pool.correct[[1, 2]].tolist()


def test_draws_are_without_replacement():
    pool = made_up_pool(1, samples=6)
    for drawn in pool.draws(4, 20, 0):
        assert len(drawn) == 4
    assert [len(whole) for whole in pool.draws(6, 20, 0)] == [6]


def test_answers_that_do_the_same_stand_behind_those_that_differ():
    scores, kinds = np.asarray([0.9, 0.8, 0.3, 0.9]), np.asarray([0, 0, 1, 0])
    assert np.argsort(-apart(scores, kinds), kind="stable").tolist() == [0, 2, 3, 1]
