"""Every study runs, once, on a tiny model and made-up problems: its figures mean nothing here, its books are right."""

from __future__ import annotations

import io
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from guided_gen.benchmarks.studies import (
    build_throughput,
    decode_profile,
    decoding_contenders,
    decoding_peers,
    doubted_tokens,
    guidance_contenders,
    int8_fidelity,
    judge_endurance,
    judge_references,
    mutants,
    packing_speed,
    precision_pass,
    probe_experiments,
    schema_answers,
    serving_endurance,
    serving_throughput,
    value_experiments,
    vllm_cache_hits,
)
from guided_gen.benchmarks.studies.probe_experiments import VARIANTS
from guided_gen.data_builder.build_settings import BuildSettings, statement_hash
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.problems.problem import CallTest, Problem, StdinTest
from guided_gen.data_builder.problems.prompts import prompt_ids
from guided_gen.data_builder.tree_folder import TreeFolder
from guided_gen.engine.cpu import kernels
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.loading import load_model, load_weights
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.tree import ROOT, Ended
from guided_gen.value_data import load_prompted_trees

from ...guided_gen.commands import write_problems

PROBLEMS = [
    Problem(
        f"made/{i}",
        f"Write f(x) that adds {i}.",
        "made",
        entry_point="f",
        tests=tuple(CallTest((x,), x + i) for x in range(3)),
        difficulty="introductory",
        solutions=(f"def f(x):\n    if x < 0:\n        return {i}\n    return x + {i}\n",),
    )
    for i in range(6)
]
SMALL = ("--candidates", "2", "--prompt-tokens", "8", "--new-tokens", "3")


def out(main: Any, *arguments: object) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def dataset(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rollouts of the tiny model, each problem's first forked in its middle; those with an even first token count as correct."""
    folder = tmp_path_factory.mktemp("data")
    loaded = load_model(str(tiny_folder), "float32")
    settings = BuildSettings(independent=6, max_new_tokens=8)
    with TreeFolder(folder, {"problems": "made", "split": None} | settings.record(loaded)) as written:
        for number, problem in enumerate(PROBLEMS):
            ids = prompt_ids(loaded.tokenizer, problem)
            search = Search(loaded.language_model, Prompt(ids), SearchSettings(n=6, max_new_tokens=8, stop_ids=loaded.stop_ids))
            run(loaded.language_model, [search])
            tree = search.tree
            leaf = int(tree.rollouts.leaf[0])
            tree.add_rollout(leaf, int(tree.path(leaf)[0]), Ended.LENGTH, 99)
            tree.verdicts = ["passed" if tree.tokens(end)[0] % 2 == 0 else "failed" for end in tree.rollouts.leaf.tolist()]
            tree.verdicts[:2] = ["passed", "failed"]
            about = {
                "problem": problem.id,
                "statement_hash": statement_hash(problem),
                "status": "kept" if number % 2 else "excluded",
            }
            tree.metadata = about | {"tests": 3, "isolation": "none", "tokens": {}} | settings.record(loaded)
            written.add(tree)
    return folder


def test_a_build_is_timed_with_and_without_judge_and_disk(tiny_folder: Path) -> None:
    settings = BuildSettings(forks=1, branches=1, trunk_tries=1, tries_at_once=1, max_new_tokens=6)
    whole, alone = build_throughput.measure(load_model(str(tiny_folder), "float32"), PROBLEMS[:2], settings, 4)
    assert whole.tokens == alone.tokens > 0


@pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")
def test_a_decode_step_is_taken_apart(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_contenders, "FIRST_TOKEN", 10)
    monkeypatch.setattr(decode_profile, "peak_products", lambda precision: 1e12)
    monkeypatch.setattr(decode_profile, "bandwidth", lambda: 1e10)
    text = out(decode_profile.main, "--model", tiny_folder, *SMALL, "--precision", "int8")
    assert decode_profile.PRODUCTS in text and decode_profile.PYTHON in text and "GB a second" in text


@pytest.mark.parametrize("contender", ["engine-float32", "generate", "repeated-cache"])
def test_a_contender_decodes_and_says_how_fast(contender: str, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding_contenders, "FIRST_TOKEN", 10)
    told = json.loads(out(decoding_contenders.main, contender, "--model", tiny_folder, *SMALL))
    assert (told["contender"], told["candidates"], told["new_tokens"]) == (contender, 2, 3) and told["decode_seconds"] > 0


def test_an_outside_contender_is_given_a_task_and_tells_its_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Peer:
        def __init__(self, task: decoding_peers.Task) -> None:
            self.task = task

        def run(self, candidates: int, new_tokens: int) -> tuple[float, float]:
            return 2.0 * new_tokens, 1.0 * new_tokens

    task: dict[str, Any] = {"model": "m", "prompt": [1, 2], "candidates": [2], "new_tokens": 3, "temperature": 0.8, "top_p": 0.5}
    monkeypatch.setitem(decoding_peers.PEERS, "made-up", Peer)
    monkeypatch.setattr(sys, "argv", ["decoding_peers", "made-up"])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(task)))
    decoding_peers.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["total_seconds"], told["decode_seconds"]) == (6, 3) and told["peak_mb"] >= told["loaded_mb"] > 0
    peer = object.__new__(decoding_peers.LlamaCpp)
    peer.task, peer.rng = decoding_peers.Task(**task), np.random.default_rng(0)
    assert set(peer.draw(np.asarray([[5.0, 1.0, -30.0]] * 20)).tolist()) == {0}  # all that top-p leaves


def test_every_way_to_know_values_searches_the_same_candidates(tiny_folder: Path) -> None:
    contenders = guidance_contenders.Contenders(tiny_folder)
    settings = guidance_contenders.settings(2, 20)
    found = {way: contenders.search(way, 30, settings) for way in contenders.WAYS}
    assert len({one.candidates for one in found.values()}) == 1 and all(one.tokens == 40 for one in found.values())


@pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")
def test_int8_is_compared_with_float32_token_by_token(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_fidelity, "load_problems", lambda source, split: PROBLEMS)
    monkeypatch.setattr(int8_fidelity, "_MOST_ANSWER_TOKENS", 5)
    monkeypatch.setattr(int8_fidelity, "_MOST_PROMPT_TOKENS", 4000)
    text = out(int8_fidelity.main, "int8", "--model", tiny_folder, "--problems", 2)
    assert "KL 0.0" in text and "top-1" in text


def test_a_judge_that_goes_on_and_on_tells_what_it_holds() -> None:
    rows = [
        json.loads(line) for line in out(judge_endurance.main, "--verdicts", 4, "--isolation", "rlimits", "--json").splitlines()
    ]
    assert rows[-1]["verdicts"] == 4 and rows[-1]["processes"] == rows[-1]["folders"] == 0


def test_references_mutants_and_degenerate_answers_are_counted() -> None:
    echo = Problem("made/echo", "", "made", tests=(StdinTest("1\n", "1\n"), StdinTest("2\n", "2\n")))
    with Judge("rlimits", workers=2, stop_at_first_failure=True) as judge:
        share = judge_references.accepted_references(judge, "made", PROBLEMS[1:3])
        caught = judge_references.caught_mutants(judge, "made", PROBLEMS[1:3], random.Random(0))
        degenerate = judge_references.passing_degenerates(judge, [echo, PROBLEMS[0]])
    assert (share.count, share.total) == (2, 2)
    assert {one.name.split(", ")[1] for one in caught} == set(mutants.KINDS) and all(one.total == 2 for one in caught)
    assert [(one.count, one.total) for one in degenerate] == [(0, 2), (2, 2), (0, 2)]


def test_packed_trees_have_fewer_tokens_than_rollouts_one_a_row(
    dataset: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing_speed, "_made_up_prompt", lambda tokens: [1 + i % 200 for i in range(tokens)])
    monkeypatch.setattr(packing_speed, "_PRECISION", "float32")
    monkeypatch.setattr(packing_speed, "_BLOCKS", 1)
    told = json.loads(out(packing_speed.main, "--data", dataset, "--model", tiny_folder, "--trees", 2))
    assert told["trees"] == 2 and told["rows"]["tokens"] > told["packed"]["tokens"]


def test_two_sets_of_rollouts_are_compared_in_pairs(dataset: Path) -> None:
    text = out(precision_pass.main, dataset, dataset)
    assert "on 6 problems" in text and text.splitlines()[-1].endswith("0.000 [0.000, 0.000]")


def test_searches_together_decode_what_they_decode_in_turn(tiny_folder: Path) -> None:
    told = json.loads(
        out(serving_throughput.main, "--model", tiny_folder, *("--searches", 2, "--n", 2, "--tokens", 6, "--rounds", 1, "--json"))
    )
    assert told["decoded_tokens"]["together"] > 0 and told["ratio"] > 0


def test_every_answer_that_is_held_to_a_random_schema_is_json_of_it(tiny_folder: Path) -> None:
    asked = ("--model", tiny_folder, "--schemas", 6, "--n", 2, "--json")
    told = json.loads(out(schema_answers.main, *asked))
    assert told["valid"] == 2 * told["held"] > 0 and not told["invalid"] and not told["cut"]
    assert told["held"] + told["refused"] == 6 and 0 < told["mask_share_of_time"] < 1
    told = json.loads(out(schema_answers.main, *asked[:-1], "--tokens", 2, "--json"))
    assert told["cut"] == 2 * told["held"] and not told["valid"]


def test_a_server_that_clients_hang_up_on_keeps_nothing(tiny_folder: Path) -> None:
    pytest.importorskip("fastapi")
    small = ("--minutes", 0.02, "--clients", 2, "--n", 1, "--tokens", 4, "--patience", 0.5, "--precision", "float32", "--json")
    result = CliRunner().invoke(serving_endurance.main, ["--model", str(tiny_folder), *map(str, small)], catch_exceptions=False)
    told = json.loads(result.stdout)
    assert (
        sum(told.get(kind, 0) for kind in ("answered", "called", "cut calls")) > 0
        and told["live_searches"] == told["cached_tokens"] == 0
    )


def test_variants_are_trained_once_and_put_into_a_table(
    dataset: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_problems(folders: list[Path], tokenizer: Any, **options: Any) -> Any:
        trees = load_prompted_trees(folders, tokenizer, problems=PROBLEMS, **options)
        return trees[:4] if folders == [dataset] else trees[4:]

    monkeypatch.setattr(value_experiments, "load_prompted_trees", with_problems)
    monkeypatch.setattr(value_experiments, "VARIANTS", {"probe": value_experiments.Variant(fork_layer=1)})
    again = tmp_path / "again"
    again.symlink_to(dataset)
    arguments = ("--data", dataset, "--validation", again, "--out", tmp_path / "out", "--model", tiny_folder)
    out(value_experiments.main, *arguments, "--kept", 1, "--kept", 2, "--cache", tmp_path / "cache")
    lines = (tmp_path / "out" / "experiments.jsonl").read_text()
    assert [json.loads(line)["setting"]["kept"] for line in lines.splitlines()] == [1, 2]
    out(value_experiments.main, *arguments, "--kept", 1, "--kept", 2, "--cache", tmp_path / "cache")
    assert (tmp_path / "out" / "experiments.jsonl").read_text() == lines
    assert "| probe | 2 |" in (tmp_path / "out" / "experiments.md").read_text()
    assert (tmp_path / "out" / "learning-curve.png").exists()


def test_probes_of_every_form_are_fitted_once_and_put_into_a_table(
    dataset: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_problems(folders: list[Path], tokenizer: Any) -> Any:
        trees = load_prompted_trees(folders, tokenizer, problems=PROBLEMS)
        return trees[:4] if folders == [dataset] else trees[4:]

    small = {name: replace(probe, layers=tuple({0, 1} if len(probe.layers) > 1 else {1})) for name, probe in VARIANTS.items()}
    monkeypatch.setattr(probe_experiments, "load_prompted_trees", with_problems)
    monkeypatch.setattr(probe_experiments, "VARIANTS", small)
    monkeypatch.setattr(probe_experiments, "BASE", small["mean of layer 20, binary"])
    again = tmp_path / "again"
    again.symlink_to(dataset)
    arguments = ("--data", dataset, "--validation", again, "--out", tmp_path / "out", "--model", tiny_folder)
    out(probe_experiments.main, *arguments, "--cache", tmp_path / "cache", "--only", "pairs", "--only", "siblings, both")
    out(probe_experiments.main, *arguments, "--cache", tmp_path / "cache")
    lines = [json.loads(line) for line in (tmp_path / "out" / "probes.jsonl").read_text().splitlines()]
    assert sorted(line["variant"] for line in lines) == sorted([*small, probe_experiments.LOGPROB, probe_experiments.CENTRALITY])
    assert all(0 <= line["figures"]["auroc"]["value"] <= 1 for line in lines)
    assert len((tmp_path / "out" / "probes.md").read_text().splitlines()) == 2 + len(lines)


def test_pairs_find_the_direction_in_which_right_answers_of_a_problem_lie() -> None:
    rng = np.random.default_rng(0)
    problem = np.repeat(np.arange(20), 10)
    correct = np.tile(np.arange(10) % 2 == 0, 20)
    numbers = torch.from_numpy(rng.normal(size=(200, 4)) + problem[:, None]).float()  # a problem says nothing of its answers
    numbers[:, 1] += torch.from_numpy(correct).float() * 3
    at = probe_experiments.Places([str(i) for i in range(20)], problem, np.ones(200), correct, np.zeros(200), {})
    data = probe_experiments._data([(numbers, at)], [np.arange(200)])
    assert (correct[data.right] & ~correct[data.wrong] & (problem[data.right] == problem[data.wrong])).all()
    for weights in probe_experiments.fit(data, "pairs", [0.03, 0.003]):
        assert np.nanmean(probe_experiments.aurocs(at, (numbers @ weights).numpy())) > 0.95


def test_further_answers_grow_where_the_reader_doubts(tiny_folder: Path, tmp_path: Path) -> None:
    problems = write_problems(
        tmp_path / "problems.jsonl", ["Write f(x).\n\nf(2) == 4\n"] * 2, inputs=[[1], [2], [3]], outputs=[2, 4, 6]
    )
    arguments = ("--problems", problems, "--split", "", "--n", 3, "--max-new-tokens", 12, "--out", tmp_path / "out.jsonl")
    models = ("--model", tiny_folder, "--reader", tiny_folder)
    text = out(doubted_tokens.main, *arguments, *models)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()[1:]]
    assert [line["policy"] for line in lines] == [doubted_tokens.FIRST, *reversed(doubted_tokens.WAYS)] * 2
    assert all(len(line["correct"]) == len(line["log_ratio"]) == 3 for line in lines)
    same_model = np.abs([ratio for line in lines for ratio in line["log_ratio"]])
    assert same_model.max() < 1e-3  # the reader is the generator
    assert "2 problems" in text and out(doubted_tokens.main, *arguments, *models) == text


def test_the_reader_names_the_token_that_it_finds_likeliest(tiny_folder: Path) -> None:
    loaded = load_model(str(tiny_folder), "float32")
    reader = doubted_tokens.NamingReader(load_weights(tiny_folder, "float32", packed=True))
    prompt = Prompt([5, 6, 7], room=8)
    greedy = SearchSettings(n=1, max_new_tokens=6, sampling=Sampling(temperature=0))
    session = loaded.language_model.open(prompt, greedy.sampling, 0)
    search = Search(loaded.language_model, session, greedy)
    run(loaded.language_model, [search])
    path = search.tree.path(int(search.tree.rollouts.leaf[0])).tolist()
    reading = reader.begin(search.tree, prompt)
    reader.read([(reading, np.asarray(path[-1:]))])
    named = reader.likeliest_below(reading, [ROOT, *path[:-1]])
    assert [named[node] for node in (ROOT, *path[:-1])] == search.tree.nodes.token_id[path].tolist()


def test_the_ceiling_of_a_prefix_cache_is_the_blocks_that_were_sent_before() -> None:
    checks = vllm_cache_hits.Load(problems=1, candidates=2, prompt=6, tokens=8, check_every=4).checks()
    assert [len(sequence) for check in checks for sequence in check] == [10, 10, 14, 14]
    assert vllm_cache_hits.ceiling([[[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 6, 7]], [[1, 2, 3, 4]]], 2) == 4 + 2
    assert vllm_cache_hits.ceiling(checks, 100) == 0


def test_what_was_searched_on_vllm_is_summed_up() -> None:
    from guided_gen.benchmarks.studies import vllm_searches

    cache = {"looked_up": 10, "found": 5, "hit_rate": 0.5}
    engine = {"requests": 3, "aborted": 1, "generated": 20, "request_steps": 18}
    figures = vllm_searches._figures([], 2.0) | engine | {"lost": 20, "delivered_steps": 18, "cache": cache}
    text = vllm_searches._text(figures | {"afterwards": engine | {"alive": 0}})
    assert "0 searches" in text and "50.0%" in text and ROOT == -1
