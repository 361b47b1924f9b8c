from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.build_settings import BuildSettings
from guided_gen.data_builder.builder import run
from guided_gen.data_builder.dataset import Part, held_out, load, oversampled, read_trees
from guided_gen.data_builder.dataset_statistics import dataset_statistics, plot_fork_positions
from guided_gen.data_builder.tree_folder import TreeFolder
from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import Tree


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A function that builds a folder of trees once for this module."""
    made = {}

    def make(name, pinned, loaded, problems, settings, judge):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with TreeFolder(made[name], pinned) as folder:
                for result in run(loaded, problems, settings, judge):
                    folder.add(result)
        return made[name]

    return make


@pytest.fixture
def problems(make_problems):
    return [replace(p, solutions=("def f(x):\n    return x + 1",)) if i % 3 else p for i, p in enumerate(make_problems(40))]


@pytest.fixture
def folder(folder_of, pinned, scripted, problems, settings, judge):
    return folder_of("forking", pinned, scripted, problems, settings, judge)


def classes(rows):
    counts: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for problem, correct in zip(rows["problem_id"], rows["correct"], strict=True):
        counts[problem][correct] += 1
    return counts


def test_the_rollouts_are_trunks_and_branches_of_kept_problems(folder, problems, settings):
    loaded = load([folder], problems=problems)
    kept = {tree.metadata["problem"]: tree for tree in read_trees([folder]) if tree.metadata["status"] == "kept"}
    rows = [row for part in loaded.values() for row in part]
    per_problem = Counter(row["problem_id"] for row in rows)
    assert per_problem == {name: 1 + len(tree.metadata["fork_nodes"]) * settings.branches for name, tree in kept.items()}
    assert Counter(row["problem_id"] for row in rows if row["kind"] == "trunk") == dict.fromkeys(kept, 1)
    for row in rows:
        tree = kept[row["problem_id"]]
        path = tree.path(int(tree.rollouts.leaf[row["rollout"]]))
        assert row["token_ids"] == tree.nodes.token_id[path].tolist()
        assert row["logprobs"] == tree.nodes.logprob[path].tolist()
        assert len(row["sample_logprobs"]) == len(row["token_ids"]) > row["fork"]
        assert row["correct"] == (tree.verdicts[row["rollout"]] == "passed")


def test_with_tries_every_rollout_that_was_drawn_is_there(folder, problems):
    loaded = load([folder], tries=True, problems=problems)
    drawn = {tree.metadata["problem"]: int(tree.rollouts.multiplicity.sum()) for tree in read_trees([folder])}
    assert Counter(name for part in loaded.values() for name in part["problem_id"]) == drawn


@pytest.mark.parametrize("tries", [False, True])
def test_the_balanced_view_has_equal_classes_for_every_problem_that_has_both(folder, problems, tries):
    plain, balanced = (load([folder], tries=tries, balanced=b, problems=problems) for b in (False, True))
    seen_both = 0
    for part in plain:
        before, after = classes(plain[part]), classes(balanced[part])
        assert before.keys() == after.keys()
        for name, counts in before.items():
            if counts[True] and counts[False]:
                seen_both += 1
                assert after[name][True] == after[name][False] == max(counts.values())
            else:
                assert after[name] == counts
    assert seen_both > 5


def test_the_balanced_trees_count_as_the_balanced_rollouts_do(folder, problems):
    rollouts = load([folder], balanced=True, problems=problems)
    trees = load([folder], "trees", balanced=True, problems=problems)
    for part in trees:
        expected = classes(rollouts[part])
        for row in trees[part]:
            tree = Tree.from_row({name: row[name] for name in row if name in Tree.below([1]).to_row()})
            counts: Counter[bool] = Counter()
            for count, verdict in zip(tree.rollouts.multiplicity.tolist(), tree.verdicts, strict=True):
                counts[verdict == "passed"] += count
            assert counts == expected[row["problem_id"]]
            assert tree.verdicts[tree.metadata["trunk"]] == "passed"


sizes = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12)


@given(sizes, st.integers(0, 5))
def test_oversampling_repeats_the_smaller_class_evenly_and_drops_nothing(rows, seed):
    chosen = [Part(i, "branch", count, correct) for i, (count, correct) in enumerate(rows)]
    result = oversampled(chosen, np.random.default_rng(seed))
    totals = {label: sum(p.multiplicity for p in chosen if p.correct == label) for label in (True, False)}
    after = {label: sum(p.multiplicity for p in result if p.correct == label) for label in (True, False)}
    assert all(new.multiplicity >= old.multiplicity for old, new in zip(chosen, result, strict=True))
    if all(totals.values()):
        assert after[True] == after[False] == max(totals.values())
        smaller = min(totals, key=totals.__getitem__)
        copies = max(totals.values()) // min(totals.values())
        for old, new in zip(chosen, result, strict=True):
            if totals[True] != totals[False] and old.correct == smaller:
                assert copies * old.multiplicity <= new.multiplicity <= (copies + 1) * old.multiplicity
    else:
        assert after == totals


@pytest.mark.parametrize("seed", [0, 1])
def test_no_problem_is_on_both_sides_of_the_split(folder, problems, seed):
    loaded = load([folder], tries=True, problems=problems, test_share=0.25, seed=seed)
    train, test = (set(loaded[part]["problem_id"]) for part in ("train", "test"))
    assert not train & test
    assert len(test) == 10 and len(train) == 30


def test_the_split_depends_on_seed_and_ids_alone(problems):
    ids = [problem.id for problem in problems]
    assert held_out(ids, 0.5, 1) == held_out(ids[::-1], 0.5, 1) != held_out(ids, 0.5, 2)


def test_the_problems_text_is_joined_in(folder, problems):
    by_id = {problem.id: problem for problem in problems}
    for row in load([folder], "trees", tries=True, problems=problems, test_share=0)["train"]:
        problem = by_id[row["problem_id"]]
        assert row["statement"] == problem.statement
        assert problem.statement in row["prompt"]
        assert "Python" in row["system"]
        assert row["solution"] == (problem.solutions[0] if problem.solutions else None)
        assert (row["format"], row["difficulty"]) == ("call-based", problem.difficulty)


def test_a_changed_or_missing_statement_is_an_error(folder, problems):
    changed = [replace(problems[0], statement="Write something else."), *problems[1:]]
    with pytest.raises(DataError, match="made-up/0"):
        load([folder], tries=True, problems=changed)
    with pytest.raises(DataError, match="made-up/39"):
        load([folder], tries=True, problems=problems[:-1])


def test_folders_with_different_settings_do_not_mix(folder, tmp_path, pinned, problems):
    TreeFolder(tmp_path, pinned | {"seed": 5}).close()
    with pytest.raises(DataError, match="different settings"):
        load([folder, tmp_path], problems=problems)


def test_independent_rollouts_have_both_views(folder_of, pinned, scripted, problems, judge):
    settings = BuildSettings(independent=5, max_new_tokens=24)
    pinned = {"problems": "made-up", "split": None} | settings.record(scripted)
    folder = folder_of("independent", pinned, scripted, problems, settings, judge)
    rows = load([folder], problems=problems, test_share=0)["train"]
    assert len(rows) == 5 * len(problems)
    assert set(rows["kind"]) == {"independent"}
    found = dataset_statistics([folder], problems)
    assert found.token_ratio is None
    assert found.drawn["independent"] == 5 * len(problems)


def test_the_statistics_agree_with_the_views(folder, problems, tmp_path):
    found = dataset_statistics([folder], problems, test_share=0.25, seed=3)
    for name, counts in found.samples.items():
        split, balance = name.split()
        rows = load([folder], balanced=balance == "balanced", problems=problems, test_share=0.25, seed=3)[split]
        assert counts.rollouts == len(rows)
        assert counts.correct == sum(rows["correct"])
        assert counts.tokens == sum(map(len, rows["token_ids"]))
        assert counts.problems == len(set(rows["problem_id"]))
    assert found.problems["kept"] + found.problems["excluded"] == sum(found.formats["train"].values()) + 10
    assert sum(found.correct_shares) == found.problems["kept"]
    assert sum(found.fork_positions) == sum(len(tree.metadata.get("fork_nodes", [])) for tree in read_trees([folder]))
    full = sum(len(ids) for part in load([folder], problems=problems).values() for ids in part["token_ids"])
    assert found.tokens["full rollouts"] == full
    assert found.token_ratio is not None and 0 < found.token_ratio < 1
    assert found.nodes == sum(len(tree) for tree in read_trees([folder]))
    plot_fork_positions(found, tmp_path / "forks.png")
    assert (tmp_path / "forks.png").read_bytes().startswith(b"\x89PNG")
