"""The benchmark command from end to end, on a tiny random model and made-up problems: noise for answers, but right books."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from guided_gen.benchmarks.results import RunTrees, key_of
from guided_gen.data_builder.problems.loaders import load_problems
from guided_gen.data_builder.problems.prompts import prompt_ids
from guided_gen.engine.language_model import LanguageModel, Prompt
from guided_gen.engine.models.loading import load_model
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.tree import load_trees
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import MadeFor
from guided_gen.valuemodel.model import ValueModel

from .commands import refused, stored, succeed, untimed, write_problems
from .made_up_rollouts import write_rollouts

MOST = 60


@pytest.fixture(scope="module")
def problems_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three problems; the first one's statement prints an example."""
    path = tmp_path_factory.mktemp("problems") / "made.jsonl"
    shown = ["\n\nf(1) == 2\n", "", ""]
    questions = [f"Write f(x) that adds one, {'very ' * i}quickly.{example}" for i, example in enumerate(shown)]
    return write_problems(path, questions, ("introductory", "interview"), inputs=[[1], [2], [3]], outputs=[2, 3, 4])


@pytest.fixture(scope="module")
def pool(tiny_folder: Path, problems_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight independent rollouts of each problem; an answer counts as correct if its first token is an even one."""
    folder = tmp_path_factory.mktemp("pool")
    write_rollouts(folder, tiny_folder, problems_file, samples=8, most=MOST)
    return folder


@pytest.fixture(scope="module")
def value(pool: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random probe made for the pool's model."""
    metadata = json.loads((pool / "settings.json").read_text())
    probe = ValueModel.from_base(tiny_folder, 2, HeadSettings(("mean",)), 0, made_for=MadeFor.of(metadata))
    with torch.no_grad():
        probe.head.project.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("value")
    probe.save_pretrained(folder)
    return folder


@pytest.fixture
def replay(pool: Path, problems_file: Path, tmp_path: Path) -> tuple[object, ...]:
    common = ("--problems", problems_file, "--out", tmp_path / "out", "--n", 4, "--best-of", "1,2", "--resamples", 3)
    return "replay", pool, *common, "--check-every", 8


def test_replay_with_a_value_model_scores_the_pool_beside_the_results(
    replay: tuple[object, ...], pool: Path, value: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in pool.rglob("*.parquet")}
    with_value = (*replay, "--value", value, "--model", tiny_folder, "--cache", tmp_path / "cache")
    policies = ("--policies", "best-of-n,early-stop:slack=0.2,threshold=0.01,speculative-rejection")
    result = succeed("bench", *with_value, *policies, "--scorers", "value,logprob,length")
    assert {path: path.read_bytes() for path in pool.rglob("*.parquet")} == before
    [scored] = (tmp_path / "out" / "values").iterdir()
    assert all((tree.nodes.value > 0).all() and (tree.nodes.value < 1).all() for tree in load_trees(scored))
    first, *lines = stored(tmp_path / "out" / "replay.jsonl")
    assert first["run"]["value"] == value.name and len(first["run"]["value_sha256"]) == 64
    # Three problems: of each the pool, and five arms with three scorers.
    assert len(lines) == 3 * (1 + (3 + 2) * 3)
    assert {line["policy"] for line in lines if "early" in line["policy"]} == {"early-stop:slack=0.2,threshold=0.01"}
    assert "Full tests" in result.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.json", "report.md", "report.html"}


def test_values_agree_with_those_that_the_engine_reads(
    replay: tuple[object, ...], value: Path, tiny_folder: Path, problems_file: Path, tmp_path: Path
) -> None:
    succeed("bench", *replay, "--value", value, "--model", tiny_folder, "--cache", tmp_path / "cache", "--scorers", "value")
    [scored] = (tmp_path / "out" / "values").iterdir()
    tail = ValueModel.from_pretrained(value, tiny_folder).engine_tail(torch.float32, "cpu")
    loaded = load_model(str(tiny_folder), "float32", tail)
    problems = {problem.id: problem for problem in load_problems(problems_file)}
    for tree in load_trees(scored):
        ids = prompt_ids(loaded.tokenizer, problems[tree.metadata["problem"]])
        search = Search(loaded.language_model, Prompt(ids), SearchSettings(n=8, max_new_tokens=MOST, stop_ids=loaded.stop_ids))
        run(loaded.language_model, [search])
        assert search.tree.nodes.token_id.tolist() == tree.nodes.token_id.tolist()
        torch.testing.assert_close(torch.tensor(tree.nodes.value), torch.tensor(search.tree.nodes.value), atol=1e-4, rtol=1e-4)


def test_a_replay_goes_on_where_it_stopped_and_reports_the_same_bytes(replay: tuple[object, ...], tmp_path: Path) -> None:
    succeed("bench", *replay)
    out = tmp_path / "out"
    names = ("report.json", "report.md", "report.html", "pass-at-1-by-tokens.png", "pass-at-1-by-steps.png")
    before = {name: (out / name).read_bytes() for name in names}
    whole = (out / "replay.jsonl").read_bytes()
    (out / "replay.jsonl").write_bytes(whole[: len(whole) * 2 // 3])  # killed while it wrote a line
    succeed("bench", *replay)
    assert (out / "replay.jsonl").read_bytes() == whole
    assert {name: (out / name).read_bytes() for name in names} == before


def test_replays_of_other_settings_are_not_mixed(replay: tuple[object, ...], tmp_path: Path) -> None:
    succeed("bench", *replay)
    assert "check_every is 8 in one and 5 in the other" in refused("bench", *replay, "--check-every", 5)
    assert "needs a value model" in refused("bench", *replay, "--scorers", "value")


def test_reports_of_two_runs_need_the_same_model(replay: tuple[object, ...], tmp_path: Path) -> None:
    succeed("bench", *replay)
    mine, other = tmp_path / "out" / "replay.jsonl", tmp_path / "other.jsonl"
    first, *lines = stored(mine)
    moved = [line | {"policy": "another policy"} for line in lines if line["policy"] == "best-of-n"]
    for told, fits in ((first["run"], True), (first["run"] | {"model_sha256": "f" * 64}, False)):
        other.write_text("".join(json.dumps(line) + "\n" for line in [{"run": told}, *moved]))
        words = ("report", mine.parent, other, "--out", tmp_path / "both")
        if fits:
            assert "another policy" in succeed("bench", *words).stdout
        else:
            assert "model_sha256" in refused("bench", *words)


@pytest.fixture
def searches(problems_file: Path, tiny_folder: Path, tmp_path: Path) -> tuple[object, ...]:
    return (
        *("--problems", problems_file, "--model", tiny_folder, "--precision", "float32", "--out", tmp_path / "run"),
        *("--n", 4, "--best-of", "2", "--max-new-tokens", 40, "--check-every", 8, "--together", 2, "--isolation", "rlimits"),
    )


POLICIES = "best-of-n,beam:width=2,rebase"


def test_bench_generates_judges_and_reports(searches: tuple[object, ...], value: Path, tmp_path: Path) -> None:
    scorers = "value,logprob,length,ended-and-parses,p-true,rating"
    result = succeed("bench", *searches, "--policies", POLICIES, "--scorers", scorers, "--value", value)
    out = tmp_path / "run"
    first, *generated = stored(out / "searches.jsonl")
    told, *judged = stored(out / "judged.jsonl")
    assert len(generated) == len(judged) == 3 * (3 + 1)
    assert told["run"] == first["run"] | {"kind": "judged", "no_examples": None, "judge": told["run"]["judge"]}
    verdicts_of = {key_of(line): line for line in judged}
    for line in generated:
        verdicts = verdicts_of[key_of(line)]
        tree = RunTrees(out).load(line["tree"], line["problem"])
        cost = line["cost"]
        assert cost["tokens"] == len(tree) and cost["passes"] > tree.depth.max() and cost["peak_memory_mb"] > 10
        assert 0 < cost["scoring_seconds"] < cost["seconds"]
        for row, one in enumerate(verdicts["candidates"]):
            whole = tree.rollouts.ended[row] == 1
            assert (one["verdict"] is not None) == whole and one["ended"] == ("eos" if whole else one["ended"])
            assert set(one["scores"]) == set(scorers.split(","))
            asked = [one["scores"][name] for name in ("p-true", "rating")]
            assert all(score is None or 0 <= score <= 1 for score in asked)
            assert len(one["trace"]) == tree.depth_of(int(tree.rollouts.leaf[row]))
            assert (one["examples"] is not None) == (whole and line["problem"] == "made/0")
        assert (verdicts["examples_seconds"] > 0) == any(one["examples"] is not None for one in verdicts["candidates"])
    assert any(verdicts["examples_seconds"] > 0 for verdicts in judged)
    assert "Full tests: 3 problems" in result.stdout and (out / "pass-at-1-by-seconds.png").exists()
    page = (out / "report.html").read_text()
    assert "quickly" not in page  # a word of the statements


def test_a_killed_generation_goes_on_and_gives_the_same_trees(
    searches: tuple[object, ...], problems_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = ("generate", *searches[:-2], "--policies", "best-of-n,beam:width=2")
    ended: list[LanguageModel] = []
    monkeypatch.setattr(LanguageModel, "end", lambda model: ended.append(model))
    succeed("bench", *generate)
    assert len(ended) == 1
    out = tmp_path / "run"
    whole = stored(out / "searches.jsonl")
    trees = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    assert set(trees) == {out / "trees.parquet"}
    content = (out / "searches.jsonl").read_bytes()
    (out / "searches.jsonl").write_bytes(content[: len(content) // 2])
    succeed("bench", *generate)
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == trees
    assert list(map(untimed, stored(out / "searches.jsonl"))) == list(map(untimed, whole))


def test_what_cannot_be_compared_is_refused_before_the_model_is_loaded(searches: tuple[object, ...], tmp_path: Path) -> None:
    assert "no policy" in refused("bench", *searches, "--policies", "beam2")
    assert "no scorer" in refused("bench", *searches, "--scorers", "luck")
    assert "needs a value model" in refused("bench", *searches, "--scorers", "value,logprob")
    assert "untouched" in refused("bench", *searches, "--problems", "apps", "--split", "untouched")
    assert "no problems of the difficulty" in refused("bench", *searches, "--difficulty", "none")
    assert "leave out p-true" in refused("bench", *searches, "--backend", "vllm", "--scorers", "logprob,p-true")
    assert "--backend vllm" in refused("bench", *searches, "--vllm", "max_num_seqs=8")
    assert "cannot guide" in refused("bench", *searches, "--guides", "logprob,p-true")
    assert "ended-and-parses reads whole answers" in refused("bench", *searches, "--guides", "ended-and-parses")
    assert not (tmp_path / "run").exists()


def test_answers_that_were_not_run_on_examples_are_not_mixed_with_those_that_were(
    searches: tuple[object, ...], problems_file: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "run", "--problems", problems_file, "--isolation", "rlimits")
    succeed("bench", *searches, "--no-examples")
    succeed("bench", "judge", *out, "--no-examples")
    assert "no_examples is True in one and None in the other" in refused("bench", "judge", *out)
    (tmp_path / "run" / "judged.jsonl").unlink()
    succeed("bench", "judge", *out)
    succeed("bench", "judge", *out, "--examples")


def test_printed_examples_never_rank_where_they_grade(problems_file: Path, searches: tuple[object, ...], tmp_path: Path) -> None:
    rows = [json.loads(line) | {"tests_kind": "example"} for line in problems_file.read_text().splitlines()]
    weak = tmp_path / "weak.jsonl"
    weak.write_text("".join(json.dumps(row) + "\n" for row in rows))
    weakly = [weak if word == problems_file else word for word in searches]
    assert "grading tests" in refused("bench", *weakly, "--examples")
    result = succeed("bench", *weakly)
    assert "refused here" in " ".join(result.stdout.split())
    judged = stored(tmp_path / "run" / "judged.jsonl")[1:]
    assert {line["examples_seconds"] for line in judged} == {None}
    assert {one["examples"] for line in judged for one in line["candidates"]} == {None}
    assert "examples and" not in (tmp_path / "run" / "report.md").read_text()
