"""train, evaluate and bench run, killed by SIGKILL at random moments, end as if they had not been.

    make test-kills KILLS=15        more kills than a test of all needs

What may differ is in docs/valuemodel.md and docs/benchmarks.md: TensorBoard's logs, seconds and memory.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .commands import KILLS, run_killed, stored, succeed, untimed, write_problems
from .made_up_rollouts import write_rollouts

pytestmark = pytest.mark.kills


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    questions = [f"Write f(x) that adds {i}." for i in range(10)]
    return write_problems(path, questions, inputs=[[1], [2], [3]], outputs=[2, 3, 4])


@pytest.fixture(scope="module")
def training(tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """A training with a checkpoint after every step."""
    folder = tmp_path_factory.mktemp("dataset")
    write_rollouts(folder, tiny_folder, problems_file, samples=6, most=12)
    return (
        *("--data", folder, "--model", tiny_folder, "--problems", problems_file, "--validation-share", 0.3),
        *("--fork-layer", 1, "--epochs", 4, "--batch-tokens", 300, "--validate-every", 1, "--patience", 0),
    )


@pytest.fixture(scope="module")
def value(training: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    succeed("train", *training, "--out", folder / "value", "--cache", folder / "cache")
    return folder / "value"


def ends_of(folder: Path, *command: object) -> list[Path]:
    """The folders that a command filled: without kills, and after kills at any time of those that it takes, at half the speed."""
    whole, out = folder / "whole", folder / "out"
    start = time.monotonic()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GUIDED_GEN_CACHE", str(whole / "cache"))
        succeed(*command, "--out", whole)
    seconds = 2 * (time.monotonic() - start)
    ended = run_killed(KILLS, seconds, *command, "--out", out, environment={"GUIDED_GEN_CACHE": str(out / "cache")})
    assert ended.returncode == 0, ended.stderr
    print(command[0], f"within {seconds:.1f} s:", next(line for line in ended.stderr.splitlines() if "kills" in line))
    return [whole, out, *folder.glob("out-*")]


def files_in(folder: Path) -> dict[str, bytes]:
    """All that a command wrote but its cache, its checkpoint and its logs."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name.split("/")[0] not in ("cache", "training")}


def test_a_killed_training_gives_the_same_bytes(training: tuple[object, ...], tmp_path: Path) -> None:
    whole, *ends = ends_of(tmp_path, "train", *training)
    for end in ends:
        assert files_in(end) == files_in(whole)


def test_a_killed_evaluation_gives_the_same_bytes(training: tuple[object, ...], value: Path, tmp_path: Path) -> None:
    whole, *ends = ends_of(tmp_path, "evaluate", "--value", value, *training[:6], "--resamples", 20, "--p-true")
    for end in ends:
        assert files_in(end) == files_in(whole)


def test_a_killed_benchmark_gives_the_same_results_but_for_seconds_and_memory(
    tiny_folder: Path, problems_file: Path, value: Path, tmp_path: Path
) -> None:
    whole, *ends = ends_of(
        *(tmp_path, "bench", "run", "--problems", problems_file, "--model", tiny_folder, "--precision", "float32"),
        *("--value", value, "--policies", "best-of-n,beam:width=2", "--n", 4, "--best-of", 2, "--max-new-tokens", 24),
        *("--together", 2, "--limit", 5, "--check-every", 8),
    )
    for end in ends:
        assert (end / "trees.parquet").read_bytes() == (whole / "trees.parquet").read_bytes()
        for name in ("searches.jsonl", "judged.jsonl"):
            assert list(map(untimed, stored(end / name))) == list(map(untimed, stored(whole / name)))
        assert files_in(end).keys() == files_in(whole).keys()
