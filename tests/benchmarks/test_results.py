"""What is stored: nothing that was stored is lost, and what does not belong together is not put together."""

from __future__ import annotations

import errno
import gzip
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from guided_gen.benchmarks.results import LineFile, RunTrees, lines_in, read_results
from guided_gen.engine.errors import DataError
from guided_gen.engine.files import replaced_atomically
from guided_gen.engine.tree import ROOT, Ended, Tree

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
    with LineFile(tmp_path / "lines", RUN), pytest.raises(DataError, match="another process"):
        LineFile(tmp_path / "lines", RUN)


def test_a_result_is_stored_once(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines", RUN) as file:
        file.add(line(0))
        with pytest.raises(DataError, match="already"):
            file.add(line(0))


@pytest.mark.parametrize("name", ["model_sha256", "kind", "value_sha256"])
def test_a_run_goes_on_only_as_it_began(tmp_path: Path, name: str) -> None:
    LineFile(tmp_path / "lines", RUN).__exit__()
    with pytest.raises(DataError, match=f"{name} is"):
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
    with pytest.raises(DataError, match="value_sha256 is"):
        read_results([one, valued, other])
    with pytest.raises(DataError, match="model_sha256 is"):
        read_results([one, write(tmp_path / "five", RUN | {"model_sha256": "9"}, line(4))])
    with pytest.raises(DataError, match="two results"):
        read_results([one, write(tmp_path / "six", RUN, line(0))])


def test_another_statement_or_another_meaning_of_a_policy_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tests of made/0"):
        read_results([write(tmp_path / "one", RUN, line(0), line(0, n=8, data="other"))])
    with pytest.raises(DataError, match="beam means"):
        read_results([write(tmp_path / "two", RUN, line(0), line(1, settings="other"))])


@pytest.mark.parametrize("text", ["", "{}\n", "[1]\n", "nonsense\n", '{"run": {}}\n{"half\n'])
def test_what_is_no_file_of_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lines").write_text(text)
    with pytest.raises(DataError):
        read_results([tmp_path / "lines"])


def test_lines_that_were_compressed_are_read_and_gone_on_from(tmp_path: Path) -> None:
    with LineFile(tmp_path / "lines", RUN) as file:
        file.add(line(0))
    plain = (tmp_path / "lines").read_bytes()
    (tmp_path / "lines.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "lines").unlink()
    assert lines_in(tmp_path, "others", "lines") == tmp_path / "lines.gz"
    assert read_results([tmp_path / "lines.gz"]).lines == [line(0)]
    with LineFile(tmp_path / "lines", RUN) as file:
        file.add(line(1))
    assert (tmp_path / "lines").read_bytes().startswith(plain) and lines_in(tmp_path, "lines") == tmp_path / "lines"
    (tmp_path / "lines.gz").write_bytes(gzip.compress(plain)[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_results([tmp_path / "lines.gz"])


def test_a_folder_names_one_file_of_lines(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no lines and no others"):
        lines_in(tmp_path, "lines", "others")
    for name in ("lines", "others"):
        write(tmp_path / name, RUN, line(0))
    with pytest.raises(DataError, match="both lines and others"):
        lines_in(tmp_path, "lines", "others")


# -- trees


def tree_of(problem: str, *tokens: int) -> Tree:
    tree = Tree.below([1, 2], {"problem": problem})
    node = ROOT
    for token in tokens:
        node = tree.add_node(node, token, logprob=-0.5, value=token / 100)
    tree.add_rollout(node, ROOT, Ended.EOS, 0)
    return tree


SEARCHED = {
    f"{policy}/made-{number}.parquet": tree_of(f"made/{number}", number, size)
    for size, policy in enumerate(["beam-width=4-16-value", "best-of-n-16"])
    for number in range(3)
}


def stored_run(folder: Path, searched: dict[str, Tree]) -> RunTrees:
    trees = RunTrees(folder)
    for name, tree in searched.items():
        trees.add(name, tree)
    return trees


def assert_holds(trees: RunTrees, searched: dict[str, Tree]) -> None:
    for name, tree in searched.items():
        assert trees.load(name, tree.metadata["problem"]) == tree


def test_trees_are_the_same_before_and_after_they_are_put_into_one_file(tmp_path: Path) -> None:
    trees = stored_run(tmp_path, SEARCHED)
    assert_holds(trees, SEARCHED)
    trees.fold()
    assert [path.name for path in tmp_path.iterdir()] == ["trees.parquet"]
    assert_holds(trees, SEARCHED)
    whole = (tmp_path / "trees.parquet").read_bytes()
    trees.fold()
    again = stored_run(tmp_path / "again", dict(reversed(SEARCHED.items())))
    again.fold()
    assert (tmp_path / "trees.parquet").read_bytes() == (tmp_path / "again" / "trees.parquet").read_bytes() == whole


def test_a_run_that_goes_on_adds_to_the_file_and_replaces_what_it_searched_anew(tmp_path: Path) -> None:
    stored_run(tmp_path, SEARCHED).fold()
    more = {"best-of-n-16/made-1.parquet": tree_of("made/1", 9, 9), "rebase-16-value/made-7.parquet": tree_of("made/7", 5)}
    trees = stored_run(tmp_path, more)
    assert_holds(trees, SEARCHED | more)
    trees.fold()
    assert_holds(trees, SEARCHED | more)


@pytest.mark.parametrize("moment", ["before the file is there", "while the trees' own files go"])
def test_a_kill_loses_no_tree(tmp_path: Path, moment: str) -> None:
    trees = stored_run(tmp_path, SEARCHED)
    if moment == "before the file is there":
        with pytest.raises(KeyboardInterrupt), replaced_atomically(tmp_path / "trees.parquet") as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt
    else:
        kept = {path: path.read_bytes() for path in list((tmp_path / "trees").rglob("*.parquet"))[:2]}
        trees.fold()
        for path, content in kept.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    assert_holds(trees, SEARCHED)
    trees.fold()
    assert_holds(trees, SEARCHED)
    assert not (tmp_path / "trees").exists()


def test_a_tree_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    trees = stored_run(tmp_path, SEARCHED)
    for _ in range(2):
        with pytest.raises(DataError, match="none"):
            trees.load("none", "made/1")
        trees.fold()
