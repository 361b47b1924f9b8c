"""The commands `guided-gen build` and `guided-gen dataset stats`, on a tiny random model."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import Future

import pytest
from click.testing import CliRunner

from guided_gen.cli.build import command as build
from guided_gen.cli.build_display import progress_line
from guided_gen.cli.dataset import command as dataset
from guided_gen.data_builder.builder import BuildProgress
from guided_gen.data_builder.dataset import read_trees
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.data_builder.judge.verdict import Verdict
from guided_gen.engine.errors import DataError, SettingsError
from guided_gen.engine.language_model import LanguageModel


@pytest.fixture
def arguments(tmp_path, model_folder, problem_file):
    options = {"--problems": problem_file, "--out": tmp_path / "out", "--model": model_folder, "--precision": "float32"}
    return [str(word) for option in options.items() for word in option] + ["--max-new-tokens", "8"]


def test_the_same_command_goes_on_and_other_settings_are_refused(tmp_path, arguments, monkeypatch):
    ended = []
    monkeypatch.setattr(LanguageModel, "end", lambda model: ended.append(model))
    first = CliRunner().invoke(build, [*arguments, "--limit", "2"], catch_exceptions=False)
    assert first.exit_code == 0 and "2 trees in" in first.stderr
    before = list(read_trees([tmp_path / "out"]))
    assert len(ended) == 1, "or a backend's processes outlive the command in who calls it"
    second = CliRunner().invoke(build, arguments, catch_exceptions=False)
    assert "2 of them built before" in second.stderr and "6 trees in" in second.stderr
    after = {tree.metadata["problem"]: tree for tree in read_trees([tmp_path / "out"])}
    assert all(after[tree.metadata["problem"]] == tree for tree in before)
    with pytest.raises(DataError, match="seed"):
        CliRunner().invoke(build, [*arguments, "--seed", "1"], catch_exceptions=False)
    with pytest.raises(DataError, match="independent"):
        CliRunner().invoke(build, [*arguments, "--independent", "3"], catch_exceptions=False)


def test_a_problem_that_was_not_judged_is_told_and_built_by_the_next_run(tmp_path, arguments, monkeypatch):
    def fails_at_first(judge, problem, program):
        if problem.id in seen or len(seen) > 1:
            return submit(judge, problem, program)
        seen.add(problem.id)
        future: Future[Verdict] = Future()
        future.set_exception(JudgeError("A sandbox did not start."))
        return future

    seen, submit = set(), Judge.submit
    monkeypatch.setattr(Judge, "submit", fails_at_first)
    first = CliRunner().invoke(build, arguments, catch_exceptions=False)
    assert first.exit_code == 1
    assert "2 problems were not judged: the same command builds them" in first.stderr and "4 trees in" in first.stderr
    second = CliRunner().invoke(build, arguments, catch_exceptions=False)
    assert second.exit_code == 0
    assert "4 of them built before" in second.stderr and "6 trees in" in second.stderr


def test_shards_of_a_limit_are_the_limit(tmp_path, arguments):
    for shard in ("0/2", "1/2"):
        CliRunner().invoke(build, [*arguments, "--limit", "5", "--shard", shard], catch_exceptions=False)
    parts = {tree.metadata["problem"] for tree in read_trees([tmp_path / "out"])}
    elsewhere = [str(tmp_path / "whole") if word == str(tmp_path / "out") else word for word in arguments]
    CliRunner().invoke(build, [*elsewhere, "--limit", "5"], catch_exceptions=False)
    assert {tree.metadata["problem"] for tree in read_trees([tmp_path / "whole"])} == parts
    assert (tmp_path / "whole" / "settings.json").read_bytes() == (tmp_path / "out" / "settings.json").read_bytes()


def test_only_the_named_problems_are_built(tmp_path, arguments):
    (tmp_path / "ids.txt").write_text("made-up/4\nmade-up/1\n")
    CliRunner().invoke(build, [*arguments, "--only", str(tmp_path / "ids.txt")], catch_exceptions=False)
    assert {tree.metadata["problem"] for tree in read_trees([tmp_path / "out"])} == {"made-up/1", "made-up/4"}


def test_the_statistics_are_printed(tmp_path, arguments, problem_file):
    CliRunner().invoke(build, [*arguments, "--independent", "3"], catch_exceptions=False)
    words = ["stats", str(tmp_path / "out"), "--problems", str(problem_file)]
    tables = CliRunner().invoke(dataset, words, catch_exceptions=False).stdout
    assert "train imbalanced" in tables and "call-based" in tables and "introductory" in tables
    counts = json.loads(CliRunner().invoke(dataset, [*words, "--json"], catch_exceptions=False).stdout)
    assert counts["drawn"] == {"independent": 18}
    assert counts["problems"] == {"independent": 6}


def test_the_untouched_split_needs_a_second_flag(tmp_path):
    with pytest.raises(SettingsError, match="untouched"):
        CliRunner().invoke(build, ["--split", "untouched", "--out", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly(tmp_path, arguments, number):
    endless = [word if word != "8" else "2000" for word in arguments]
    process = subprocess.Popen([sys.executable, "-m", "guided_gen", "build", *endless], stderr=subprocess.PIPE, text=True)
    assert any("built before" in line for line in process.stderr)
    time.sleep(0.2)  # the build has begun and is far from its end
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in errors and "Traceback" not in errors
    assert (tmp_path / "out" / "README.md").exists()
    assert list(read_trees([tmp_path / "out"])) == []


def test_the_progress_line_counts_and_estimates():
    line = progress_line(BuildProgress({"kept": 10, "skipped": 5}, 370, 185, 6000, 600.0, 40, 20), 105)
    assert "15/105" in line and "50% correct" in line and "10 a second" in line
    # 10 done and 20 half done of 100 took 10 minutes.
    assert "40 min left" in line
