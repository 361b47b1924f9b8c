"""train, evaluate, export and solve --value from end to end, on a tiny random model whose answers got made-up verdicts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from guided_gen import known_values
from guided_gen.engine.errors import GuidedGenError
from guided_gen.generator import GuidedGenerator
from guided_gen.value_data import code_span
from guided_gen.valuemodel.card import known_problems
from guided_gen.valuemodel.model import ValueModel

from .commands import invoke, write_problems
from .made_up_rollouts import write_rollouts


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    return write_problems(path, [f"Write f(x) that adds {i}." for i in range(10)], inputs=[[1], [2]], outputs=[1, 2])


@pytest.fixture(scope="module")
def dataset(tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Independent rollouts of ten problems; an answer counts as correct if its first token is an even one."""
    folder = tmp_path_factory.mktemp("dataset")
    write_rollouts(folder, tiny_folder, problems_file, samples=6, most=12)
    return folder


@pytest.fixture(scope="module")
def value(dataset: Path, tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "value"
    result = invoke(
        *("train", "--data", dataset, "--out", out, "--model", tiny_folder, "--problems", problems_file),
        *("--cache", out.parent / "cache", "--validation-share", 0.3, "--fork-layer", 1, "--epochs", 1),
    )
    assert result.exit_code == 0, result.output
    return out


def test_a_trained_model_says_what_it_was_made_from(value: Path, tiny_folder: Path) -> None:
    config = json.loads((value / "config.json").read_text())
    assert config["fork_layer"] == 1 and config["tail_layers"] == 1
    assert config["made_for"]["precision"] == "float32" and config["made_for"]["template"] == "code"
    assert (config["training"]["training_problems"], config["training"]["validation_problems"]) == (7, 3)


def test_a_trained_model_has_a_card_and_names_the_problems_that_it_knows(value: Path, dataset: Path) -> None:
    card = ModelCard.load(value / "README.md")
    assert card.data.base_model == json.loads((dataset / "settings.json").read_text())["model"]
    assert all(heading in card.text for heading in ("## Data", "## Training", "## Results", "## Limits"))
    assert "7 problems with" in card.text and "{" not in card.text
    known = known_problems(value)
    assert (len(known["training"]), len(known["validation"])) == (7, 3) and not known["training"] & known["validation"]


def test_few_mixed_problems_and_known_data_are_warned_of(
    value: Path, dataset: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path
) -> None:
    common = ("--data", dataset, "--model", tiny_folder, "--problems", problems_file, "--cache", value.parent / "cache")
    result = invoke("train", *common, "--out", tmp_path / "value", "--tune", "head", "--validation-share", 0.3)
    assert "Warning: only" in result.stderr and "fewer than 30" in result.stderr
    evaluation = ("evaluate", *common, "--out", tmp_path / "report", "--resamples", 10)
    result = invoke(*evaluation, "--value", value)
    assert "trained on 7 of these 10 problems" in result.stderr
    assert "calibrated on 3 of these 10 problems" in result.stderr
    (tmp_path / "value" / "known_problems.json").unlink()
    assert "Warning" not in invoke(*evaluation, "--value", tmp_path / "value").stderr


def test_evaluate_writes_figures_plots_and_a_page(value: Path, dataset: Path, tiny_folder: Path, problems_file: Path) -> None:
    out = value.parent / "evaluation"
    result = invoke(
        *("evaluate", "--value", value, "--data", dataset, "--out", out, "--model", tiny_folder),
        *("--problems", problems_file, "--cache", value.parent / "cache", "--resamples", 20, "--p-true"),
        *("--reader", tiny_folder),
    )
    assert result.exit_code == 0, result.output
    figures = json.loads((out / "evaluation.json").read_text())
    assert figures["data"]["problems"] == 10 and figures["data"]["rollouts"] == 60
    assert 0 <= figures["ranking"]["p-true"]["within_problem_auroc"]["value"] <= 1
    # The rollouts' own log-probabilities are made up: a reader of the same weights finds its own.
    assert 0 <= figures["ranking"]["log-ratio"]["within_problem_auroc"]["value"] <= 1
    assert figures["about"]["reader"] == str(tiny_folder)
    assert (out / "report.html").stat().st_size > 10_000 and (out / "figure-2.png").exists()
    assert "Whole answers" in result.output


def test_evaluate_wants_what_training_wrote_beside_the_model(
    value: Path, dataset: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path
) -> None:
    ValueModel.from_pretrained(value).save_pretrained(tmp_path / "copy")
    result = invoke(
        *("evaluate", "--value", tmp_path / "copy", "--data", dataset, "--out", tmp_path / "report"),
        *("--model", tiny_folder, "--problems", problems_file),
    )
    assert isinstance(result.exception, GuidedGenError) and "statement.safetensors" in str(result.exception)


def test_solve_ranks_by_the_values(value: Path, tiny_folder: Path, tmp_path: Path) -> None:
    statement = tmp_path / "problem.txt"
    statement.write_text("Write f(x) that adds 3.\n")
    common = ("solve", statement, "--model", tiny_folder, "--precision", "float32", "--max-new-tokens", 12, "--json")
    found = json.loads(invoke(*common, "--value", value).stdout)
    for candidate in found["candidates"]:
        assert candidate["score"] == candidate["values"][-1] and 0 < candidate["score"] < 1
    without = json.loads(invoke(*common).stdout)
    assert all(candidate["values"][-1] is None for candidate in without["candidates"])
    assert {c["text"] for c in found["candidates"]} == {c["text"] for c in without["candidates"]}


def test_solve_refuses_a_value_model_of_another_generator(value: Path, endless_folder: Path, tmp_path: Path) -> None:
    statement = tmp_path / "problem.txt"
    statement.write_text("Write f(x) that adds 3.\n")
    result = invoke("solve", statement, "--model", endless_folder, "--precision", "float32", "--value", value)
    assert isinstance(result.exception, GuidedGenError) and "was trained for" in str(result.exception)
    result = invoke("solve", statement, "--scorer", "value", "--value", "none")
    assert isinstance(result.exception, GuidedGenError) and "--value" in str(result.exception)


def test_solve_takes_the_value_model_that_comes_with_the_package_where_it_belongs_to_the_generator(
    value: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(value, tmp_path / "values" / "tiny")
    monkeypatch.setattr(known_values, "SHIPPED", tmp_path / "values")
    statement = tmp_path / "problem.txt"
    statement.write_text("Write f(x) that adds 3.\n")
    common = ("solve", statement, "--model", tiny_folder, "--max-new-tokens", 12, "--json")
    shipped = invoke(*common, "--precision", "float32")
    named = invoke(*common, "--precision", "float32", "--value", value)
    assert "Values: tiny" in shipped.stderr
    scores = [[c["score"] for c in json.loads(result.stdout)["candidates"]] for result in (shipped, named)]
    assert scores[0] == scores[1] and 0 < scores[0][0] < 1
    assert "Values: tiny" not in invoke(*common, "--precision", "float32", "--value", "none").stderr
    other = invoke(*common, "--precision", "bfloat16")
    assert other.exit_code == 0 and "without a value model" in other.stderr


def test_the_api_takes_it_too(value: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(value, tmp_path / "values" / "tiny")
    monkeypatch.setattr(known_values, "SHIPPED", tmp_path / "values")
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    best = generator.solve("Write f(x) that adds 3.", n=3, max_new_tokens=12).best
    assert best.score == best.values[-1]
    chat = generator.solve([{"role": "user", "content": "Hello"}], n=3, max_new_tokens=12).best
    assert chat.score == pytest.approx(chat.logprobs.mean())
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32", value=None)
    best = generator.solve("Write f(x) that adds 3.", n=3, max_new_tokens=12).best
    assert best.score == pytest.approx(best.logprobs.mean())


def test_export_writes_a_folder_that_transformers_loads(value: Path, tiny_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = invoke("export", "--value", value, "--out", tmp_path / "stock", "--model", tiny_folder)
    assert result.exit_code == 0, result.output
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "stock").config.num_labels == 1
    assert AutoTokenizer.from_pretrained(tmp_path / "stock").chat_template


def test_another_base_reads_the_text_when_asked_to(
    dataset: Path, tiny_folder: Path, endless_folder: Path, problems_file: Path, tmp_path: Path
) -> None:
    """Training on another model's states is refused unless it is said that the text is what is read."""
    paths = ("--data", dataset, "--out", tmp_path / "value", "--model", endless_folder, "--problems", problems_file)
    common = (*paths, "--cache", tmp_path / "cache", "--validation-share", 0.3, "--tune", "head")
    result = invoke("train", *common)
    assert isinstance(result.exception, GuidedGenError) and "not from the base model" in str(result.exception)
    result = invoke("train", *common, "--as-text", "--generator", tiny_folder)
    assert result.exit_code == 0, result.output
    statement = tmp_path / "problem.txt"
    statement.write_text("Write f(x) that adds 3.\n")
    solved = ("solve", statement, "--model", tiny_folder, "--precision", "float32", "--max-new-tokens", 12, "--json")
    found = json.loads(invoke(*solved, "--value", tmp_path / "value", "--value-base", endless_folder).stdout)
    assert all(0 < candidate["score"] < 1 for candidate in found["candidates"])


def test_a_truncated_file_is_refused_before_anything_is_computed(
    dataset: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset, tmp_path / "data")
    file = next((tmp_path / "data" / "trees").iterdir())
    file.write_bytes(file.read_bytes()[:-200])
    common = ("--model", tiny_folder, "--problems", problems_file, "--cache", tmp_path / "cache")
    result = invoke("train", "--data", tmp_path / "data", "--out", tmp_path / "value", *common)
    assert isinstance(result.exception, GuidedGenError) and "cannot be read" in str(result.exception)
    assert not (tmp_path / "cache").exists() and not (tmp_path / "value").exists()


def test_a_code_span_is_the_tokens_of_the_program() -> None:
    pieces = ("Here:\n", "```py", "thon\n", "def f", "():\n  ", "return 1\n", "```")
    assert code_span(pieces, "".join(pieces), "def f():\n  return 1\n") == (3, 6)
    assert code_span(pieces, "".join(pieces), "") is None and code_span(pieces, "".join(pieces), "x = 1") is None
