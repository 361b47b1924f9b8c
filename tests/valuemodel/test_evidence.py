"""Evidence as columns, and the model that makes a probability of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from guided_gen.valuemodel.evidence import COLUMNS, COMPARED, READER_COLUMNS, Column, EvidenceModel, Finished, columns
from guided_gen.valuemodel.evidence_fit import Labelled, fit_evidence, refitted
from guided_gen.valuemodel.made_for import ValueModelError

THREE = Finished(
    counts=np.asarray([2, 1, 1]),
    lengths=np.asarray([10, 10, 40]),
    logprobs=np.asarray([-0.1, -0.2, -0.5]),
    ended=np.asarray([True, True, False]),
    parses=np.asarray([True, True, False]),
    passed=np.asarray([2, 1, 0]),
    shown=2,
    classes=np.asarray([[0, 0], [0, 1], [-1, -1]]),
    results=np.asarray([[True, True], [True, True], [False, False]]),
    values=np.asarray([0.5, 0.2, 0.1]),
    readings=np.asarray([-0.1, -0.4, np.nan]),
)


def test_columns_of_three_answers():
    found = columns(THREE)
    assert set(found) == {*COLUMNS, *COMPARED}
    assert found["examples"].tolist() == [1, 0.5, 0]
    assert found["all examples"].tolist() == [1, 0, 0]
    assert found["runs against siblings"].tolist() == pytest.approx([1 / 3, 1 / 3, -1])
    assert found["length against siblings"][2] == pytest.approx(np.log(4))
    assert found["log-probability against siblings"].tolist() == pytest.approx([0.5 / 3, 0.1 / 3, -0.5 + 0.4 / 3])
    assert found["value"][0] == 0
    logits = np.log(THREE.values / (1 - THREE.values))
    assert found["value of all"].tolist() == pytest.approx([np.average(logits, weights=THREE.counts)] * 3)
    assert found["log-ratio"].tolist() == pytest.approx([0, -0.2, np.nan], nan_ok=True)
    assert found["agreement"].tolist() == pytest.approx([1 / 3, 0, 0])
    assert found["agreement by value"].tolist() == pytest.approx([0.5 / 0.8, 0, 0])


def test_what_is_not_known_is_missing_and_not_zero():
    columns_of_one = {name: column[:1] for name, column in vars(THREE).items() if name != "shown"}
    nothing_run = {"classes": np.zeros((1, 0), int), "results": np.zeros((1, 0), bool), "values": np.asarray([np.nan])}
    nothing_run["readings"] = np.asarray([np.nan])
    alone = Finished(**columns_of_one | nothing_run, shown=0)
    found = columns(replace(alone, counts=np.asarray([1])))
    missing = {name for name, column in found.items() if np.isnan(column).all()}
    assert missing == {
        *("examples", "all examples", "agreement", "agreement by value", "value", "value against siblings", "value of all"),
        *("log-probability against siblings", "length against siblings", "runs against siblings"),
        *READER_COLUMNS,
    }


def test_a_model_adds_up_its_columns_and_survives_its_file(tmp_path):
    model = EvidenceModel({"a": Column(2.0, 1.0, -0.5), "b": Column(-1.0, 0.0)}, 0.25, {"n": 10})
    found = {"a": np.asarray([1.5, np.nan]), "b": np.asarray([0.25, 1.0]), "c": np.zeros(2)}
    assert model.logits(found).tolist() == pytest.approx([0.25 + 1 - 0.25, 0.25 - 0.5 - 1])
    model.save(tmp_path / "evidence.json")
    assert EvidenceModel.load(tmp_path / "evidence.json") == model
    with pytest.raises(ValueModelError, match="reads b, which is not known"):
        model.logits({"a": np.zeros(2)})


@pytest.mark.parametrize(
    "text", ["", "{}", '{"format": 2, "columns": {}, "bias": 0, "about": {}}', "[1]", '{"format": 1, "columns": 3}']
)
def test_other_files_are_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "evidence.json"
    path.write_text(text)
    with pytest.raises(ValueModelError):
        EvidenceModel.load(path)


def made_up(problems: int, seed: int, shift: float = 0.0) -> list[Labelled]:
    """Eight answers a problem; "known" tells, where it is there; "noise" does not."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(problems):
        known, noise = rng.normal(size=(2, 8))
        truth = rng.random(8) < 1 / (1 + np.exp(-(2 * known + shift)))
        seen = np.where(i % 3 == 0, np.nan, known)
        made.append(Labelled({"known": seen, "noise": noise, "late": truth + rng.normal(size=8)}, np.ones(8, int), truth))
    return made


def test_a_fit_finds_what_tells_and_is_calibrated():
    model = fit_evidence(made_up(400, 0), ("known", "noise"))
    assert model.columns["known"].weight == pytest.approx(2, abs=0.3)
    assert abs(model.columns["noise"].weight) < 0.15
    assert abs(model.columns["known"].missing) < 0.4
    fresh = made_up(400, 1)
    values = np.concatenate([model.probabilities(one.columns) for one in fresh])
    correct = np.concatenate([one.correct for one in fresh])
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (values >= low) & (values < low + 0.25)
        assert correct[inside].mean() == pytest.approx(values[inside].mean(), abs=0.07)


def test_the_second_step_shifts_the_first_and_adds_columns():
    first = fit_evidence(made_up(300, 2), ("known", "noise"))
    others = made_up(300, 3, shift=-2.0)
    moved = refitted(first, others)
    rate = np.mean([one.correct.mean() for one in others])
    assert np.mean([moved.probabilities(one.columns).mean() for one in others]) == pytest.approx(rate, abs=0.02)
    ratio = moved.columns["noise"].weight / moved.columns["known"].weight
    assert ratio == pytest.approx(first.columns["noise"].weight / first.columns["known"].weight)
    added = refitted(first, others, ("late",))
    assert added.columns["late"].weight > 0.5
    stacked = added.logits(others[0].columns) - added.columns["late"].weight * others[0].columns["late"]
    base = first.logits(others[0].columns)
    slopes = np.diff(stacked) / np.diff(base)
    assert slopes == pytest.approx(np.full(7, slopes[0]))


def test_a_column_that_is_nowhere_known_is_left_out():
    labelled = [Labelled({**one.columns, "gone": np.full(8, np.nan)}, one.counts, one.correct) for one in made_up(20, 0)]
    assert set(fit_evidence(labelled, ("known", "gone")).columns) == {"known"}


def test_one_class_cannot_be_fitted():
    labelled = [Labelled(one.columns, one.counts, np.ones(8, bool)) for one in made_up(5, 0)]
    with pytest.raises(ValueModelError, match="correct and wrong"):
        fit_evidence(labelled, ("noise",))
