"""The command line as a user meets it: real processes, what they print, and how they end."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guided_gen import __version__
from guided_gen.cli import COMMANDS, main
from guided_gen.engine.tree import Tree

Saved = tuple[Path, subprocess.CompletedProcess[bytes]]
STATEMENT = "Double a number.\n\ndef double(x):\n\ndouble(2) == 4\n"
FAST = ["--n", "2", "--most", "2", "--max-new-tokens", "12", "--precision", "float32"]


def guided_gen(
    *arguments: str, input: str | bytes = "", most_bytes: int = resource.RLIM_INFINITY, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """`most_bytes`: of a file, where the disk is full."""
    data = input.encode() if isinstance(input, str) else input
    return subprocess.run(
        [sys.executable, "-m", "guided_gen", *arguments],
        input=data,
        capture_output=True,
        env=os.environ | environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
        timeout=120,
    )


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    path = tmp_path / "double.txt"
    path.write_text(STATEMENT)
    return path


@pytest.fixture(scope="module")
def saved(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A saved search, and the run that saved it."""
    tree = tmp_path_factory.mktemp("saved") / "tree.parquet"
    return tree, guided_gen("solve", "-", "--model", str(tiny_folder), "--save", str(tree), *FAST, input=STATEMENT)


def test_solve_prints_the_program_alone_and_the_rest_to_stderr(saved: Saved, problem: Path, tiny_folder: Path) -> None:
    tree, run = saved
    assert run.returncode == 0, run.stderr
    assert b"2 candidates" in run.stderr and b"candidates" not in run.stdout
    again = guided_gen("solve", str(problem), "--json", "--model", str(tiny_folder), *FAST)
    found = json.loads(again.stdout)
    assert found["program"].rstrip("\n") == run.stdout.decode().rstrip("\n")
    assert sum(candidate["multiplicity"] for candidate in found["candidates"]) == 2
    assert Tree.load(tree).rollouts.multiplicity.sum() == 2


def test_a_full_disk_costs_what_was_to_be_written_and_is_told_in_one_sentence(
    saved: Saved, problem: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    (tree, unlimited), page = saved, tmp_path / "page.html"
    kept = tree.read_bytes()
    solve = ["solve", str(problem), "--model", str(tiny_folder), *FAST, "--save", str(tree)]
    again = guided_gen(*solve, most_bytes=100)
    view = guided_gen("view", str(tree), "--out", str(page), "--model", str(tiny_folder), most_bytes=100)
    assert again.stdout == unlimited.stdout != b"" and tree.read_bytes() == kept and not page.exists()
    for run, path in ((again, tree), (view, page)):
        assert run.returncode == 1 and b"Traceback" not in run.stderr
        told = run.stderr.decode().strip().splitlines()[-1]
        assert told.startswith(f"Error: {path} cannot be") and "File too large" in told


@pytest.mark.parametrize(
    ("arguments", "input", "complaint"),
    [
        (["-"], "", "is empty"),
        (["-"], b"\xff\xfe\x00binary", "not a text file"),
        (["-"], "null \0 bytes", "not a text file"),
        (["no-such-file"], "", "cannot be read"),
        (["no such file.txt"], "", "cannot be read"),
        (["-", "--save", "/dev/null"], STATEMENT, "/dev/null cannot be written: it is no regular file"),
        (["-", "-o", "/dev/null"], STATEMENT, "/dev/null cannot be written: it is no regular file"),
        (["-", "--save", "no such folder/tree.parquet"], STATEMENT, "no such folder/tree.parquet cannot be written"),
        (["-", "--save", "/dev/null/tree.parquet"], STATEMENT, "/dev/null/tree.parquet cannot be written"),
        (["-", "--n", "0"], STATEMENT, "at least 1"),
        (["-", "--temperature", "-1"], STATEMENT, "temperature"),
        (["-", "--policy", "magic"], STATEMENT, "no policy 'magic'"),
        (["-", "--scorer", "magic"], STATEMENT, "no scorer 'magic'"),
        (["-", "--precision", "int3", "--model", "TINY"], STATEMENT, "no precision 'int3'"),
        (["-", "--model", "TINY"], "word " * 5000, "tokens"),
    ],
)
def test_bad_input_is_answered_by_one_sentence(
    arguments: list[str],
    input: str | bytes,
    complaint: str,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [str(tiny_folder) if argument == "TINY" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["guided-gen", "solve", *arguments])
    data = input.encode() if isinstance(input, str) else input
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(SystemExit) as end:
        main()
    stdout, stderr = capsys.readouterr()
    assert end.value.code == 1
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ") and complaint in last
    assert stdout == ""


def test_an_error_ends_the_process_without_a_traceback(tmp_path: Path) -> None:
    solve = ["solve", "-", "--model", "no/such/model"]
    run = guided_gen(*solve, input=STATEMENT, GUIDED_GEN_CACHE=str(tmp_path), HF_HUB_OFFLINE="1")
    assert run.returncode == 1 and run.stdout == b""
    last = run.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("Error: ") and "no/such/model" in last
    assert b"Traceback" not in run.stderr


def test_a_closed_pipe_ends_quietly(problem: Path, tiny_folder: Path) -> None:
    command = f"{sys.executable} -m guided_gen solve {problem} --json --model {tiny_folder} {' '.join(FAST)} | head -c 1"
    run = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, timeout=120)
    assert b"Traceback" not in run.stderr and b"Exception ignored" not in run.stderr
    assert run.stdout == b"{"


def test_control_c_prints_the_best_answer_so_far(problem: Path, endless_folder: Path) -> None:
    long = ["--n", "4", "--max-new-tokens", "3000", "--precision", "float32", "--value", "none", "--json", "--temperature", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "guided_gen", "solve", str(problem), "--model", str(endless_folder), *long],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert b"searching with" in process.stderr.readline()
    assert b"4 candidates growing" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "stopped" in {candidate["ended"] for candidate in json.loads(stdout)["candidates"]}


def test_help_and_version_load_neither_torch_nor_transformers() -> None:
    for argument in ("--help", "--version"):
        check = (
            "import sys\nfrom guided_gen.cli import cli\n"
            f"try: cli(['{argument}'], prog_name='guided-gen')\nexcept SystemExit: pass\n"
            "assert not {'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules), 'heavy imports'"
        )
        run = subprocess.run([sys.executable, "-c", check], capture_output=True, timeout=60)
        assert run.returncode == 0, run.stderr
        assert b"guided-gen" in run.stdout
    assert __version__.encode() in run.stdout


def test_every_listed_command_has_help() -> None:
    for name in COMMANDS:
        run = guided_gen(name, "--help")
        assert run.returncode == 0 and b"Usage" in run.stdout


def test_shell_completion_lists_the_commands() -> None:
    run = guided_gen("", _GUIDED_GEN_COMPLETE="bash_source")
    assert b"complete" in run.stdout
