import json
import multiprocessing
import random
import signal
import time

import pytest

from guided_gen.data_builder.build_settings import Shard
from guided_gen.data_builder.builder import Skipped, run
from guided_gen.data_builder.dataset import load, read_trees
from guided_gen.data_builder.dataset_statistics import dataset_statistics
from guided_gen.data_builder.tree_folder import TreeFolder, problem_ids, read_skipped, tree_files
from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import Tree, load_trees
from guided_gen.engine.tree_files import SCHEMA

PROBLEMS = 60


def build(path, pinned, loaded, problems, settings, judge, shard=None, pause=0.0, most_bytes=16_000):
    with TreeFolder(path, pinned, shard, most_bytes) as folder:
        for result in run(loaded, folder.missing(problems), settings, judge, batch=16, watch=lambda progress: time.sleep(pause)):
            folder.add(result)


def by_problem(path):
    return {tree.metadata["problem"]: tree for tree in read_trees([path])}


def test_what_is_added_is_read_back(tmp_path, pinned, scripted, make_problems, settings, judge):
    trees = {tree.metadata["problem"]: tree for tree in run(scripted, make_problems(PROBLEMS), settings, judge)}
    build(tmp_path, pinned, scripted, make_problems(PROBLEMS), settings, judge)
    assert by_problem(tmp_path) == trees
    assert len(tree_files(tmp_path)) > 1
    assert all(path.stat().st_size <= 16_000 for path in tree_files(tmp_path))
    assert [tree for path in tree_files(tmp_path) for tree in load_trees(path)] == list(read_trees([tmp_path]))


def test_twenty_kills_lose_nothing_that_was_written_and_repeat_nothing(
    tmp_path, pinned, scripted, make_problems, settings, judge
):
    problems = make_problems(PROBLEMS)
    expected = {tree.metadata["problem"]: tree for tree in run(scripted, problems, settings, judge)}
    fork = multiprocessing.get_context("fork")  # a fresh interpreter would spend the test's time on importing torch
    rng = random.Random(0)
    written: dict[str, Tree] = {}
    interrupted = 0
    for _ in range(20):
        process = fork.Process(target=build, args=(tmp_path, pinned, scripted, problems, settings, judge, None, 0.01))
        process.start()
        time.sleep(rng.uniform(0.01, 0.25))
        process.kill()
        process.join()
        interrupted += process.exitcode == -signal.SIGKILL
        now = by_problem(tmp_path) if tmp_path.joinpath("settings.json").exists() else {}
        assert now.items() >= written.items()
        written = now
    assert interrupted >= 10
    build(tmp_path, pinned, scripted, problems, settings, judge)
    assert by_problem(tmp_path) == expected
    assert len(problem_ids(tmp_path)) == PROBLEMS
    assert not [path for path in tmp_path.rglob("*.tmp") if path.parent.name == "trees"]


def test_a_finished_build_builds_nothing_again(tmp_path, pinned, scripted, make_problems, settings, judge):
    problems = make_problems(10)
    build(tmp_path, pinned, scripted, problems, settings, judge)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    judge.seen.clear()
    build(tmp_path, pinned, scripted, problems, settings, judge)
    assert judge.seen == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_two_shards_together_equal_the_whole(tmp_path, pinned, scripted, make_problems, settings, judge):
    problems = make_problems(21)
    build(tmp_path / "whole", pinned, scripted, problems, settings, judge)
    for i in range(2):
        shard = Shard(i, 2)
        build(tmp_path / f"part{i}", pinned, scripted, shard.of(problems), settings, judge, shard)
        build(tmp_path / "together", pinned, scripted, shard.of(problems), settings, judge, shard)
    whole = by_problem(tmp_path / "whole")
    assert {tree.metadata["problem"]: tree for tree in read_trees([tmp_path / "part0", tmp_path / "part1"])} == whole
    assert by_problem(tmp_path / "together") == whole
    assert len({(tmp_path / name / "settings.json").read_bytes() for name in ("whole", "part0", "part1", "together")}) == 1


def test_a_folder_built_with_other_settings_is_refused(tmp_path, pinned, scripted, make_problems, settings, judge):
    build(tmp_path, pinned, scripted, make_problems(3), settings, judge)
    for change in ({"seed": 1}, {"model_sha256": "f" * 64}, {"precision": "int8"}, {"split": "train"}, {"forks": 2}):
        with pytest.raises(DataError, match=next(iter(change))):
            TreeFolder(tmp_path, pinned | change)
    TreeFolder(tmp_path, pinned).close()


def test_trees_without_settings_are_refused(tmp_path, pinned, scripted, make_problems, settings, judge):
    build(tmp_path, pinned, scripted, make_problems(3), settings, judge)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(DataError, match="no settings"):
        TreeFolder(tmp_path, pinned)


def test_a_shard_has_one_builder_at_a_time(tmp_path, pinned):
    with TreeFolder(tmp_path, pinned, Shard(0, 2)):
        with pytest.raises(DataError, match="another process"):
            TreeFolder(tmp_path, pinned, Shard(0, 2))
        TreeFolder(tmp_path, pinned, Shard(1, 2)).close()
    TreeFolder(tmp_path, pinned, Shard(0, 2)).close()


def test_a_second_tree_of_a_problem_is_refused(tmp_path, pinned, scripted, make_problems, settings, judge):
    trees = list(run(scripted, make_problems(1), settings, judge))
    with TreeFolder(tmp_path, pinned) as folder:
        folder.add(trees[0])
        with pytest.raises(DataError, match="made-up/0"):
            folder.add(trees[0])
    copy = tmp_path / "trees" / "1-of-2-00000.parquet"
    copy.write_bytes(tree_files(tmp_path)[0].read_bytes())
    with pytest.raises(DataError, match="made-up/0"):
        TreeFolder(tmp_path, pinned)


def test_a_damaged_file_is_named(tmp_path, pinned, scripted, make_problems, settings, judge):
    build(tmp_path, pinned, scripted, make_problems(3), settings, judge)
    path = tree_files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=path.name):
        list(read_trees([tmp_path]))


def test_skipped_problems_are_counted_with_their_reason(tmp_path, pinned):
    for _ in range(2):
        with TreeFolder(tmp_path, pinned) as folder:
            folder.add(Skipped("made-up/7", "no tests"))
    assert read_skipped(tmp_path, ()) == {"made-up/7": "no tests"}
    assert "problems skipped: no tests | 1" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("skipping", [Shard(0, 1), Shard(1, 2)])
@pytest.mark.parametrize("killed", [False, True])
def test_a_problem_that_was_built_after_all_is_not_counted_as_skipped(
    tmp_path, pinned, scripted, make_problems, settings, judge, skipping, killed
):
    problems = make_problems(1)
    with TreeFolder(tmp_path, pinned, skipping) as folder:
        folder.add(Skipped("made-up/0", "not judged: no sandbox"))
    [tree] = run(scripted, problems, settings, judge)
    folder = TreeFolder(tmp_path, pinned)
    folder.add(tree)
    if killed:
        folder._lock.close()
        folder = TreeFolder(tmp_path, pinned)
    folder.close()
    assert "skipped" not in (tmp_path / "README.md").read_text()
    assert not dataset_statistics([tmp_path], problems).skipped
    assert not (tmp_path / "skipped" / "0-of-1.json").exists()


def test_the_card_counts_and_the_hub_can_read_its_header(tmp_path, pinned, scripted, make_problems, settings, judge):
    import datasets
    import yaml

    problems = make_problems(20)
    build(tmp_path, pinned, scripted, problems, settings, judge)
    card = (tmp_path / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["configs"][0]["config_name"] == "trees"
    statuses = [tree.metadata["status"] for tree in read_trees([tmp_path])]
    assert f"| problems kept | {statuses.count('kept')} |" in card
    assert pinned["model_sha256"] in card
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "trees" / "*.parquet"), split="train", cache_dir=tmp_path / "c"
    )
    assert rows.column_names == SCHEMA.names
    assert sorted(json.loads(row)["problem"] for row in rows["metadata"]) == sorted(problem.id for problem in problems)
    assert not any(problem.statement in card for problem in problems)
    assert len(load([tmp_path], "trees", tries=True, problems=problems)["train"]) == 18
