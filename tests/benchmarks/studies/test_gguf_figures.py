"""The study of GGUF's costs, on a tiny GGUF: what it reads from processes that it starts, and what it makes of timings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from guided_gen.benchmarks.studies import gguf_figures
from guided_gen.engine.cpu import kernels

from ...engine.gguf_files import write_tiny_gguf

needs_kernels = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")


def figures(*arguments: object) -> str:
    result = CliRunner().invoke(gguf_figures.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def small_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with room for a prompt, told byte by byte."""
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", context=4096)


@needs_kernels
def test_disk_and_the_first_token_are_measured_from_outside(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_figures, "missing_peer", lambda contender: "not here")
    text = figures("--model", small_gguf, "--rounds", 1, "--only", "disk", "--only", "start")
    beside = re.search(r"; ([\d.]+) MB lie beside it", text)
    seconds = re.search(r"prompt of \d+ tokens: guided-gen solve ([\d.]+) s\.", text)
    assert beside and float(beside[1]) < 20
    assert seconds and float(seconds[1]) > 0


def test_a_search_that_fails_is_said(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    result = CliRunner().invoke(gguf_figures.main, ["--model", str(tmp_path / "broken.gguf"), "--only", "memory"])
    assert result.exit_code == 1 and "solve ended with" in result.output


def test_rates_are_medians_over_all_rounds_kept(small_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([4.0, 1.0, 2.0])

    def timings(contender: str, name: str, candidates: dict[int, int]) -> list[dict[str, Any]]:
        taken = next(seconds) if contender.startswith("engine") else 8.0
        read = {"prompt_tokens": 30, "total_seconds": taken + 3.0, "decode_seconds": taken}
        return [read | {"candidates": count, "new_tokens": tokens} for count, tokens in candidates.items()]

    monkeypatch.setattr(gguf_figures, "timings", timings)
    monkeypatch.setattr(gguf_figures, "missing_peer", lambda contender: None if contender == "llama.cpp" else "not here")
    options = ("--model", small_gguf, "--only", "decoding", "--instructions", "avx2", "--timings", tmp_path / "kept.jsonl")
    figures(*options, "--rounds", 1)
    (tmp_path / "kept.jsonl").open("a").write(json.dumps({"model": "another"}) + "\n")
    text = figures(*options, "--rounds", 2)
    assert "| engine-int8 avx2 | 32.0 | 192.0 | 432.0 | 10.0 |" in text  # 64, 8 * 48 and 36 * 24 tokens in 2 s
    assert "| engine-int8 avx2 / llama.cpp | 4.00 | 4.00 | 4.00 | 1.00 |" in text


def test_busy_processes_end_with_the_measurement(small_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    class Process:
        def __init__(self, command: list[str]) -> None:
            self.alive = True
            started.append(self)

        def kill(self) -> None:
            self.alive = False

        def wait(self) -> None: ...

    def timings(contender: str, name: str, candidates: dict[int, int]) -> list[dict[str, Any]]:
        return [{"decode_seconds": 1.0 + sum(process.alive for process in started)}]

    monkeypatch.setattr("subprocess.Popen", Process)
    monkeypatch.setattr(gguf_figures, "timings", timings)
    assert "decode at 33% of their speed alone" in figures("--model", small_gguf, "--rounds", 2, "--only", "busy")
    assert len(started) == 4 and not any(process.alive for process in started)
