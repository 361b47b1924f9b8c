from collections import Counter
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch

from guided_gen.data_builder.build_settings import BuildSettings, Shard, build_order
from guided_gen.data_builder.builder import Skipped, run
from guided_gen.data_builder.dataset import parts
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.data_builder.judge.verdict import Isolation, Verdict
from guided_gen.data_builder.problems.problem import CallTest
from guided_gen.data_builder.problems.prompts import prompt_ids
from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import ROOT, Tree


def built(loaded, problems, settings, judge, **options):
    results = list(run(loaded, problems, settings, judge, **options))
    return {tree.metadata["problem"]: tree for tree in results if isinstance(tree, Tree)}


def kept(trees):
    return [tree for tree in trees.values() if tree.metadata["status"] == "kept"]


@pytest.fixture
def trees(scripted, make_problems, settings, judge):
    trees = built(scripted, make_problems(30), settings, judge)
    assert len(trees) == 30
    assert {tree.metadata["status"] for tree in trees.values()} == {"kept", "excluded"}
    return trees


def test_the_trunk_is_the_first_correct_try(trees):
    for tree in kept(trees):
        tries = tree.metadata["tries"]
        correct = [row for row in range(len(tries)) if tree.verdicts[row] == "passed"]
        trunk = tree.metadata["trunk"]
        assert trunk == min(correct, key=lambda row: tree.rollouts.seed[row])


def test_a_problem_without_a_correct_try_keeps_all_of_them(trees, settings):
    excluded = [tree for tree in trees.values() if tree.metadata["status"] == "excluded"]
    for tree in excluded:
        assert tree.rollouts.multiplicity.sum() == settings.trunk_tries
        assert set(tree.rollouts.fork.tolist()) == {ROOT}
        assert "passed" not in tree.verdicts


def test_tries_stop_with_the_go_that_had_a_correct_one(trees, settings):
    for tree in kept(trees):
        drawn = sum(tree.metadata["tries"])
        assert drawn % settings.tries_at_once == 0
        trunk_number = tree.rollouts.seed[tree.metadata["trunk"]]
        assert trunk_number >= drawn - settings.tries_at_once


def test_every_branch_shares_its_trunks_prefix_exactly(trees, settings):
    for tree in kept(trees):
        trunk = tree.path(int(tree.rollouts.leaf[tree.metadata["trunk"]])).tolist()
        forks = tree.metadata["fork_nodes"]
        assert len(forks) == min(settings.forks, len(trunk))
        starts: Counter[int] = Counter()
        for part in parts(tree):
            if part.kind == "branch":
                fork = int(tree.rollouts.fork[part.row])
                path = tree.path(int(tree.rollouts.leaf[part.row])).tolist()
                depth = tree.depth_of(fork)
                assert path[:depth] == trunk[:depth]
                starts[fork] += part.multiplicity
        assert starts == {int(tree.nodes.parent[node]): settings.branches for node in forks}


def test_forks_are_the_least_probable_tokens_of_the_trunk(trees, settings):
    for tree in kept(trees):
        trunk = tree.path(int(tree.rollouts.leaf[tree.metadata["trunk"]]))
        logprobs = tree.nodes.logprob[trunk]
        forked = np.isin(trunk, tree.metadata["fork_nodes"])
        assert logprobs[forked].max() <= logprobs[~forked].min(initial=0.0)


def test_batching_changes_no_tree(scripted, make_problems, settings, judge, trees):
    alone = built(scripted, make_problems(30), settings, judge, batch=1)
    assert alone == trees


def test_equal_programs_of_a_rollout_are_asked_for_once(scripted, make_problems, settings, judge):
    trees = built(scripted, make_problems(5), settings, judge)
    leaves = sum(len(set(tree.rollouts.leaf.tolist())) for tree in trees.values())
    assert len(judge.seen) == leaves


def test_the_batch_stays_full_while_problems_are_left(scripted, make_problems, settings, judge):
    seen = []
    list(run(scripted, make_problems(40), settings, judge, batch=16, watch=lambda progress: seen.append(progress)))
    assert seen[-1].done == 40
    # A step ends some rollouts; before the next one the batch was full.
    middle = seen[2:-20]
    assert np.mean([progress.live for progress in middle]) > 10
    assert max(progress.live for progress in seen) < 16 + settings.forks * settings.branches


def test_decoded_tokens_add_up_to_the_nodes_where_nothing_was_drawn_twice(trees):
    for tree in trees.values():
        tokens = tree.metadata["tokens"]
        assert sum(tokens.values()) >= len(tree)
        if tree.metadata["status"] == "kept":
            full = sum(
                part.multiplicity * tree.depth_of(int(tree.rollouts.leaf[part.row])) for part in parts(tree) if part.kind != "try"
            )
            assert tokens["trunk"] + tokens["branches"] <= full


def test_independent_rollouts_are_sampled_of_every_problem(scripted, make_problems, judge):
    settings = BuildSettings(independent=10, max_new_tokens=24)
    trees = built(scripted, make_problems(12), settings, judge)
    assert len(trees) == 12
    for tree in trees.values():
        assert tree.metadata["status"] == "independent"
        assert sum(part.multiplicity for part in parts(tree)) == 10
        assert {part.kind for part in parts(tree)} == {"independent"}
        assert None not in tree.verdicts


def test_problems_with_weak_tests_and_long_prompts_are_skipped_by_name(scripted, make_problems, settings, judge):
    good, weak, constant, long = make_problems(4)
    weak = replace(weak, tests=weak.tests[:2])
    constant = replace(constant, tests=tuple(CallTest((x,), 7) for x in range(5)))
    long = replace(long, statement="very " * 400)
    results = list(run(scripted, [weak, constant, long, good], settings, judge))
    skipped = {result.problem_id: result.reason for result in results if isinstance(result, Skipped)}
    assert set(skipped) == {weak.id, constant.id, long.id}
    assert "fewer than 3 tests" in skipped[weak.id]
    assert "single distinct" in skipped[constant.id]
    assert "prompt" in skipped[long.id]
    assert len(results) == 4


class BrokenJudge:
    """Fails on the problems whose number is in `broken`."""

    isolation: Isolation = "none"

    def __init__(self, working, broken):
        self.working, self.broken = working, broken

    def submit(self, problem, program):
        if int(problem.id.rpartition("/")[2]) not in self.broken:
            return self.working.submit(problem, program)
        future: Future[Verdict] = Future()
        future.set_exception(JudgeError("no sandbox"))
        return future


def test_a_problem_that_cannot_be_judged_is_skipped_and_a_broken_judge_ends_the_build(scripted, make_problems, settings, judge):
    results = list(run(scripted, make_problems(10), settings, BrokenJudge(judge, {4})))
    assert [result.problem_id for result in results if isinstance(result, Skipped)] == ["made-up/4"]
    assert len(results) == 10
    with pytest.raises(JudgeError):
        list(run(scripted, make_problems(10), settings, BrokenJudge(judge, set(range(10)))))


def test_a_closed_build_gives_back_all_caches(tiny, make_problems, settings, hashing_judge):
    building = cast(Generator[Tree | Skipped], run(tiny, make_problems(6), settings, hashing_judge, batch=8))
    next(building)
    building.close()
    assert tiny.language_model.statistics.cached_tokens == 0


def test_stored_logprobs_equal_a_fresh_forward_pass(tiny, tiny_transformer, make_problems, settings, hashing_judge):
    problems = make_problems(6)
    trees = built(tiny, problems, settings, hashing_judge, batch=16)
    assert kept(trees)
    sampling = settings.sampling
    for problem in problems:
        tree, prompt = trees[problem.id], prompt_ids(tiny.tokenizer, problem)
        assert tree.prompt_length == len(prompt)
        for leaf in tree.rollouts.leaf.tolist():
            path = tree.path(leaf)
            tokens = torch.tensor([*prompt, *tree.nodes.token_id[path].tolist()])
            with torch.inference_mode():
                logprobs = tiny_transformer(tokens[None]).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
            answer = tokens[len(prompt) :, None]
            np.testing.assert_allclose(tree.nodes.logprob[path], logprobs.gather(1, answer)[:, 0], atol=1e-3)
            scaled = (logprobs / sampling.temperature).softmax(-1)
            ranked = scaled.sort(-1, descending=True).values
            # The probability that top-p leaves in, the token that crosses it included.
            mass = torch.where(ranked.cumsum(-1) - ranked < sampling.top_p, ranked, 0).sum(-1)
            drawn = (scaled.gather(1, answer)[:, 0] / mass).log()
            np.testing.assert_allclose(tree.nodes.sample_logprob[path], drawn, atol=1e-3)


def test_a_real_judge_gives_the_same_verdicts(scripted, make_problems, settings, judge):
    expected = built(scripted, make_problems(3), settings, judge)
    with Judge(stop_at_first_failure=True) as real:
        trees = built(scripted, make_problems(3), settings, real)
        assert {tree.metadata["isolation"] for tree in trees.values()} == {real.isolation}
    for name, tree in trees.items():
        assert [verdict == "passed" for verdict in tree.verdicts] == [verdict == "passed" for verdict in expected[name].verdicts]


def test_shards_are_apart_and_together_the_whole(make_problems):
    problems = build_order(make_problems(31), seed=3)
    shards = [Shard(i, 4).of(problems) for i in range(4)]
    assert sorted(problem.id for shard in shards for problem in shard) == sorted(problem.id for problem in problems)
    assert build_order(problems[::-1], seed=3) == problems


def test_a_shard_that_there_is_not_is_refused():
    for text in ("2/2", "1", "0/0", "-1/2", "a/b"):
        with pytest.raises(DataError):
            Shard.parse(text)
    assert Shard.parse("1/2") == Shard(1, 2)
