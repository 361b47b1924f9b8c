"""Executing stored rollouts, fitting evidence and reporting on it, on a tiny random model: noise for answers, but right books."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guided_gen import evidence_data, value_data
from guided_gen.cli import cli
from guided_gen.data_builder.stored_executions import NAME
from guided_gen.engine.errors import GuidedGenError, SettingsError
from guided_gen.valuemodel.evidence import EvidenceModel

from .made_up_rollouts import write_rollouts


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    tests = json.dumps({"fn_name": "f", "inputs": [[1], [2], [3]], "outputs": [2, 3, 4]})
    about = {"solutions": "", "starter_code": "", "difficulty": "introductory", "input_output": tests}
    rows = [{"problem_id": i, "question": f"Add one, {'very ' * i}fast.\n\nf(1) == 2\n"} | about for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def pool(tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    write_rollouts(folder, tiny_folder, problems_file, samples=6, most=20)
    return folder


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit | GuidedGenError):
        raise result.exception
    return result


def test_from_rollouts_to_a_model_and_a_report(pool: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path):
    refused = run("bench", "fit-evidence", pool, "--calibrate", pool, "--problems", problems_file, "--out", tmp_path / "e.json")
    assert isinstance(refused.exception, GuidedGenError)
    assert "guided-gen dataset execute" in str(refused.exception)

    assert run("dataset", "execute", pool, "--problems", problems_file, "--model", tiny_folder).exit_code == 0
    assert (pool / NAME).is_file()

    out = tmp_path / "evidence.json"
    fitted = run("bench", "fit-evidence", pool, "--calibrate", pool, "--problems", problems_file, "--n", 4, "--out", out)
    assert fitted.exit_code == 0, fitted.output
    model = EvidenceModel.load(out)
    assert "log-probability" in model.columns
    assert not any(name.startswith("value") for name in model.columns)
    assert model.about["calibration_problems"] == 6
    assert sum(one["share"] for one in model.about["calibration"]["bins"]) == pytest.approx(1, abs=1e-3)

    report = ("bench", "evidence", pool, "--data", pool, "--problems", problems_file, "--n", 4, "--resamples", 2)
    made = run(*report, "--out", tmp_path / "report")
    assert made.exit_code == 0, made.output
    assert "| all but examples |" in (tmp_path / "report" / "evidence.md").read_text()
    figures = json.loads((tmp_path / "report" / "evidence.json").read_text())
    assert figures["with_examples"] == 6

    replayed = ("bench", "adaptive", pool, "--data", pool, "--problems", problems_file, "--most", 6, "--resamples", 2)
    ran = run(*replayed, "--budgets", "50", "--out", tmp_path / "adaptive")
    assert ran.exit_code == 0, ran.output
    arms = json.loads((tmp_path / "adaptive" / "adaptive.json").read_text())["arms"]
    assert [arm["n"] for arm in arms] == [1, 2, 4, 6, 4]
    assert arms[-1]["tokens"] <= 50
    wrong = run(*replayed, "--budgets", "many", "--out", tmp_path / "adaptive")
    assert "budgets are written like" in str(wrong.exception)


def test_a_pool_is_searched_anew_with_the_evidence_of_its_own_problem(
    pool: Path, tiny_folder: Path, problems_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("dataset", "execute", pool, "--problems", problems_file, "--model", tiny_folder).exit_code == 0
    trees = list(value_data.pool_trees([pool], None, pool))
    monkeypatch.setattr(evidence_data, "pool_trees", lambda *_, **__: iter(trees[::-1]))
    pools = evidence_data.load_pools([pool])
    problems = evidence_data.adaptive_problems([pool], pools, None, ["log-probability"], 4)
    assert [one.told.problem for one in problems] == [one.problem for one in pools]
    assert [one.pool.tree.metadata["problem"] for one in problems] == [one.told.problem for one in problems]
    monkeypatch.setattr(evidence_data, "pool_trees", lambda *_, **__: iter([*trees, *trees]))
    with pytest.raises(SettingsError, match="hold the same problems"):
        evidence_data.adaptive_problems([pool, pool], pools, None, ["log-probability"], 4)


def test_what_a_reader_finds_is_evidence_and_is_read_once(
    pool: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("dataset", "execute", pool, "--problems", problems_file, "--model", tiny_folder).exit_code == 0
    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "cache"))
    asked = ("--problems", problems_file, "--n", 4, "--model", tiny_folder, "--reader", tiny_folder)
    out = tmp_path / "evidence-reader.json"
    fitted = run("bench", "fit-evidence", pool, "--calibrate", pool, *asked, "--out", out)
    assert fitted.exit_code == 0, fitted.output
    assert "log-ratio" in EvidenceModel.load(out).columns
    assert len(list((tmp_path / "cache" / "readings").glob("*/*.npy"))) == 6

    monkeypatch.setattr("guided_gen.stored_readings.load_weights", lambda *_, **__: pytest.fail("it was read before"))
    made = run("bench", "evidence", pool, "--data", pool, *asked, "--resamples", 2, "--out", tmp_path / "report")
    assert made.exit_code == 0, made.output
    arms = json.loads((tmp_path / "report" / "evidence.json").read_text())["arms"]
    assert arms["reader"]["columns"] == ["reader's log-probability", "log-ratio", "log-ratio against siblings"]
    assert "all but reader" in arms and "all but value" not in arms
