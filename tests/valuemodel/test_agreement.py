"""Agreement of candidates, from classes of outcomes alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from guided_gen.valuemodel.agreement import agreement, behaviours, tells

ONE = np.ones(4, np.int64)


def test_the_majority_agrees_more():
    classes = np.asarray([[0, 0], [0, 0], [0, 1], [1, 2]])
    shares = agreement(classes, np.ones((4, 2), bool), ONE)
    assert shares.tolist() == pytest.approx([0.5, 0.5, 1 / 3, 0])


def test_inputs_on_which_all_do_the_same_say_nothing():
    classes = np.asarray([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 2, 0]])
    results = np.ones((4, 3), bool)
    assert agreement(classes, results, ONE).tolist() == agreement(classes[:, 1:2], results[:, 1:2], ONE).tolist()
    assert agreement(classes[:, :1], results[:, :1], ONE).tolist() == [1, 1, 1, 1]


def test_to_fail_alike_is_not_to_agree():
    classes = np.asarray([[0], [0], [0], [1]])
    results = np.asarray([[False], [False], [False], [True]])
    assert agreement(classes, results, ONE).tolist() == [0, 0, 0, 0]
    assert np.isnan(agreement(classes, np.zeros((4, 1), bool), ONE)).all()


def test_an_input_counts_by_the_results_on_it():
    classes = np.asarray([[0, 0], [0, 1], [1, 2], [1, 2]])
    results = np.asarray([[True, True], [True, False], [True, False], [True, False]])
    shares = agreement(classes, results, ONE)
    assert shares[1] == pytest.approx((1 / 3) / 1.25)


def test_samples_and_values_weigh():
    classes, results = np.asarray([[0], [1], [1]]), np.ones((3, 1), bool)
    assert agreement(classes, results, np.asarray([3, 1, 1])).tolist() == pytest.approx([0.5, 0.25, 0.25])
    values = np.asarray([0.5, 0.1, 0.1])
    valued = agreement(classes, results, np.asarray([1, 1, 1]), values)
    assert valued.tolist() == pytest.approx([0, 0.1 / 0.6, 0.1 / 0.6])


def test_a_lone_sample_has_no_siblings():
    assert np.isnan(agreement(np.zeros((1, 2), int), np.ones((1, 2), bool), np.asarray([1]))).all()
    assert agreement(np.zeros((1, 2), int), np.ones((1, 2), bool), np.asarray([2])).tolist() == [1]
    assert agreement(np.zeros((0, 2), int), np.ones((0, 2), bool), np.zeros(0, int)).shape == (0,)
    assert np.isnan(agreement(np.zeros((3, 0), int), np.ones((3, 0), bool), np.ones(3, int))).all()


@given(arrays(np.int64, (5, 3), elements=st.integers(-1, 2)), arrays(np.int64, 5, elements=st.integers(1, 4)), st.randoms())
def test_neither_the_order_nor_the_names_of_classes_matter_and_copies_are_samples(classes, counts, random):
    results = classes > 0
    shares = agreement(classes, results, counts)
    assert (np.isnan(shares) | ((shares >= -1e-12) & (shares <= 1 + 1e-12))).all()
    order = list(range(5))
    random.shuffle(order)
    shuffled = agreement(classes[order], results[order], counts[order])
    np.testing.assert_allclose(shuffled, shares[order], atol=1e-12)
    renamed = np.where(classes < 0, classes, 7 - classes)
    np.testing.assert_allclose(agreement(renamed, results, counts), shares, atol=1e-12)
    rows = np.repeat(np.arange(5), counts)
    np.testing.assert_allclose(agreement(classes[rows], results[rows], np.ones(len(rows), int)), shares[rows], atol=1e-12)


def test_what_was_not_run_tells_nothing():
    assert tells(np.asarray([[0, -1, -1], [0, 3, -1], [1, 3, -1]])).tolist() == [True, False, False]


def test_behaviours():
    kinds = behaviours(np.asarray([[0, 1], [0, 2], [0, 1]]))
    assert kinds[0] == kinds[2] != kinds[1]
    assert len(set(behaviours(np.zeros((3, 0), int)).tolist())) == 3
