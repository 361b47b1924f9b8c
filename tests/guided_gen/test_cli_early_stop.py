"""fit-early-stop, and solve with what it fitted and with every policy, on a tiny random model and made-up verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import Result

from guided_gen.engine.errors import GuidedGenError
from guided_gen.engine.policy_names import POLICIES
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import MadeFor
from guided_gen.valuemodel.model import ValueModel

from .commands import invoke, write_problems
from .made_up_rollouts import write_rollouts

MOST = 10


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    return write_problems(path, [f"Write f(x) that adds {i}." for i in range(24)], inputs=[[1], [2]], outputs=[1, 2])


@pytest.fixture(scope="module")
def pool(tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six independent rollouts of each problem; an answer counts as correct if its first token is an even one."""
    folder = tmp_path_factory.mktemp("pool")
    write_rollouts(folder, tiny_folder, problems_file, samples=6, most=MOST)
    return folder


@pytest.fixture(scope="module")
def value(pool: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A probe with random weights: its values differ from answer to answer, and mean nothing."""
    settings = json.loads((pool / "settings.json").read_text())
    torch.manual_seed(0)
    model = ValueModel.from_base(tiny_folder, 2, HeadSettings(), 0, made_for=MadeFor.of(settings))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.normal_()
    folder = tmp_path_factory.mktemp("value")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def fitted(pool: Path, value: Path, tiny_folder: Path, problems_file: Path) -> Result:
    result = invoke(
        *("bench", "fit-early-stop", pool, "--value", value, "--lost", "0.1,0.3", "--check-every", 2),
        *("--model", tiny_folder, "--problems", problems_file, "--cache", value.parent / "cache"),
    )
    assert result.exit_code == 0, result.exception
    return result


@pytest.fixture
def solving(tiny_folder: Path, tmp_path: Path) -> tuple[object, ...]:
    statement = tmp_path / "problem.txt"
    statement.write_text("Write f(x) that adds 3.\n")
    common = ("--model", tiny_folder, "--precision", "float32", "--max-new-tokens", MOST, "--check-every", 2, "--json")
    return ("solve", statement, *common)


def test_the_curves_are_written_beside_the_weights_and_shown(fitted: Result, value: Path) -> None:
    saved = json.loads((value / "early_stop.json").read_text())
    assert [curve["lost"] for curve in saved["curves"]] == [0.1, 0.3]
    assert saved["problems"] == 24 and saved["rollouts"] == 144 and saved["check_every"] == 2
    assert all(0 < number < 1 for curve in saved["curves"] for number in curve["values"])
    assert "may be lost" in fitted.output and str(value / "early_stop.json") in fitted.output


def test_solve_stops_candidates_below_the_curve(fitted: Result, value: Path, solving: tuple[object, ...]) -> None:
    curve = json.loads((value / "early_stop.json").read_text())["curves"][1]
    found = json.loads(invoke(*solving, "--value", value, "--n", 12, "--policy", "early-stop:lost=0.3").stdout)
    stopped = [candidate for candidate in found["candidates"] if candidate["ended"] == "stopped"]
    assert stopped
    for candidate in found["candidates"]:
        below = [
            candidate["values"][tokens - 1] < least
            for tokens, least in zip(curve["tokens"], curve["values"], strict=True)
            if tokens < len(candidate["values"])
        ]
        assert not any(below)
        last = len(candidate["values"])
        if candidate["ended"] == "stopped":
            assert candidate["values"][-1] < curve["values"][curve["tokens"].index(last)]


def test_early_stop_without_settings_and_without_a_curve_is_refused(solving: tuple[object, ...]) -> None:
    result = invoke(*solving, "--value", "none", "--policy", "early-stop")
    assert isinstance(result.exception, GuidedGenError) and "set a threshold or a slack" in str(result.exception)


def test_solve_says_what_a_fitted_curve_takes(fitted: Result, value: Path, solving: tuple[object, ...]) -> None:
    for options, says in (
        (["--value", value, "--policy", "early-stop:lost=0.2"], "it holds 0.1, 0.3"),
        (["--value", value, "--policy", "early-stop:lost=0.1", "--scorer", "logprob"], "--scorer value"),
        (["--value", value, "--policy", "early-stop:lost=0.1", "--check-at", "lines"], "at lines"),
        (["--policy", "early-stop:lost=0.1"], "--value"),
    ):
        result = invoke(*solving, *options)
        assert isinstance(result.exception, GuidedGenError) and says in str(result.exception)


@pytest.mark.parametrize("policy", POLICIES)
def test_solve_searches_with_every_policy_and_its_help_names_them(
    fitted: Result, value: Path, solving: tuple[object, ...], policy: str
) -> None:
    found = json.loads(invoke(*solving, "--value", value, "--n", 4, "--policy", policy).stdout)
    assert any(candidate["ended"] in ("eos", "length") for candidate in found["candidates"])
    assert policy in " ".join(invoke("solve", "--help").output.split()).replace("- ", "-")


def test_a_pool_that_is_too_small_is_refused(pool: Path, value: Path, tiny_folder: Path, problems_file: Path) -> None:
    common = ("--model", tiny_folder, "--problems", problems_file, "--cache", value.parent / "cache")
    result = invoke("bench", "fit-early-stop", pool, "--value", value, "--lost", "0.01", *common)
    assert isinstance(result.exception, GuidedGenError)
    result = invoke("bench", "fit-early-stop", pool, "--value", value, "--lost", "0.01", "--check-every", 2, *common)
    assert "99 problems" in str(result.exception)


def test_serve_takes_a_fitted_curve_only_with_its_value_model() -> None:
    pytest.importorskip("fastapi")
    result = invoke("serve", "--policy", "early-stop:lost=0.1", "--value", "none")
    assert isinstance(result.exception, GuidedGenError) and "--value" in str(result.exception)
