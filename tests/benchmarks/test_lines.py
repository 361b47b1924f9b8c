"""Stored results: nothing that was stored is lost, and what does not belong together is not put together."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from guided_gen.benchmarks.lines import LineFile, LinesError, read_results

RUN = {"kind": "replay", "model": "made-up", "model_sha256": "0", "value": None, "value_sha256": None}


def line(number: int, **more: Any) -> dict[str, Any]:
    return {"problem": f"made/{number}", "policy": "beam", "n": 4, "scorer": "value", "data": "d", "settings": "s"} | more


def test_what_was_added_is_read_in_the_order_of_its_keys(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines", RUN) as file:
        for number in (2, 0, 1):
            file.add(line(number, found=number))
    results = read_results([tmp_path / "lines"])
    assert results.run == RUN and [one["found"] for one in results.lines] == [0, 1, 2]


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_half_written_line_is_cut_off_and_written_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "lines"
    with LineFile(path, RUN) as file:
        file.add(line(0))
        file.add(line(1))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with LineFile(path, RUN) as file:
        assert len(file.done) == 1
        file.add(line(1))
    assert path.read_bytes() == whole


def test_a_line_that_cannot_be_written_is_told_with_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with LineFile(tmp_path / "lines", RUN) as file:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space") as error:
            file.add(line(0))
    assert error.value.filename == str(tmp_path / "lines")


def _add_for_ever(path: Path) -> None:
    with LineFile(path, RUN) as file:
        for number in range(10**9):
            file.add(line(number, filler="x" * 5000))


def test_a_killed_process_loses_no_line_that_it_had_added(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    process = multiprocessing.get_context("fork").Process(target=_add_for_ever, args=(path,))
    process.start()
    while not path.exists() or path.stat().st_size < 50_000:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    with LineFile(path, RUN) as file:
        kept = len(file.done)
    assert kept >= 9
    assert sorted(int(one["problem"].removeprefix("made/")) for one in read_results([path]).lines) == list(range(kept))


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines", RUN), pytest.raises(LinesError, match="another process"):
        LineFile(tmp_path / "lines", RUN)


def test_a_result_is_stored_once(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines", RUN) as file:
        file.add(line(0))
        with pytest.raises(LinesError, match="already"):
            file.add(line(0))


@pytest.mark.parametrize("name", ["model_sha256", "kind", "value_sha256"])
def test_a_run_goes_on_only_as_it_began(tmp_path: Path, name: str) -> None:
    LineFile(tmp_path / "lines", RUN).__exit__()
    with pytest.raises(LinesError, match=f"{name} is"):
        LineFile(tmp_path / "lines", RUN | {name: "another"})


def write(path: Path, run: dict[str, Any], *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in ({"run": run}, *lines)))
    return path


def test_files_are_read_together_where_their_hashes_agree(tmp_path: Path) -> None:
    one = write(tmp_path / "one", RUN, line(0))
    valued = write(tmp_path / "two", RUN | {"value": "values", "value_sha256": "1"}, line(1))
    moved = write(tmp_path / "three", RUN | {"value": "moved", "value_sha256": "1", "model": "a folder"}, line(2))
    for files in ([one, valued], [valued, one], [valued, moved, one]):
        results = read_results(files)
        assert len(results.lines) == len(files) and results.run["value_sha256"] == "1"
    other = write(tmp_path / "four", RUN | {"value": "values", "value_sha256": "2"}, line(3))
    with pytest.raises(LinesError, match="value_sha256 is"):
        read_results([one, valued, other])
    with pytest.raises(LinesError, match="model_sha256 is"):
        read_results([one, write(tmp_path / "five", RUN | {"model_sha256": "9"}, line(4))])
    with pytest.raises(LinesError, match="two results"):
        read_results([one, write(tmp_path / "six", RUN, line(0))])


def test_another_statement_or_another_meaning_of_a_policy_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(LinesError, match="tests of made/0"):
        read_results([write(tmp_path / "one", RUN, line(0), line(0, n=8, data="other"))])
    with pytest.raises(LinesError, match="beam means"):
        read_results([write(tmp_path / "two", RUN, line(0), line(1, settings="other"))])


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "nonsense\n", '{"run": {}}\n{"half\n'])
def test_what_is_no_file_of_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lines").write_text(text)
    with pytest.raises(LinesError):
        read_results([tmp_path / "lines"])
