"""`guided-gen view` from saved searches, and what `guided-gen serve` refuses before it loads a model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guided_gen.benchmarks.results import RunTrees
from guided_gen.cli import cli
from guided_gen.data_builder.build_settings import statement_hash
from guided_gen.data_builder.problems.loaders import load_problems
from guided_gen.data_builder.problems.problem import Problem
from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.engine.errors import GuidedGenError
from guided_gen.engine.tree import Tree, save_trees
from guided_gen.generator import GuidedGenerator

STATEMENT = "Double a number.\n\ndef double(x):\n\ndouble(2) == 4\n"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def tree(tiny_folder: Path) -> Tree:
    generator = GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")
    return generator.solve(STATEMENT, n=4, max_new_tokens=120, seed=1).tree


def data_of(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])["searches"]


def test_a_saved_search_becomes_one_page(tree: Tree, tiny_folder: Path, tmp_path: Path) -> None:
    tree.save(tmp_path / "tree.parquet")
    (tmp_path / "problem.txt").write_text(STATEMENT)
    out = tmp_path / "page.html"
    run = invoke("view", tmp_path / "tree.parquet", "--out", out)
    assert isinstance(run.exception, GuidedGenError) and "--model" in str(run.exception)
    model = ["--model", tiny_folder, "--statement", tmp_path / "problem.txt"]
    run = invoke("view", tmp_path / "tree.parquet", "--out", out, *model)
    assert run.exit_code == 0, run.output
    (shown,) = data_of(tmp_path / "page.html")
    assert shown["statement"] == STATEMENT and len(shown["candidates"]) == len(tree.rollouts)
    assert len(shown["texts"]) == len(shown["parents"]) == len(shown["scores"]) == len(tree)
    outside = re.findall(r"(?:src|href)=\"(?!data:)", (tmp_path / "page.html").read_text())
    assert not outside


def test_what_the_first_version_saved_is_read_and_shown(tiny_folder: Path, tmp_path: Path) -> None:
    """A search, with its metadata of then, and the same as one of a benchmark run's trees, which lay in files of their own."""
    saved = Path(__file__).parent / "earlier_search.parquet"
    found = Tree.load(saved)
    assert found.tokens(int(found.rollouts.leaf[0])).tolist() == [120, 191, 37, 27, 177, 202, 120, 173, 221, 231]
    assert found.metadata["policy"] == "BestOfN()" and len(found.rollouts) == 3 and found.nodes.logprob.max() < 0
    run = invoke("view", saved, "--out", tmp_path / "page.html", "--model", tiny_folder)
    assert run.exit_code == 0, run.output
    assert len(data_of(tmp_path / "page.html")[0]["candidates"]) == 3
    loose = tmp_path / "trees" / "best-of-n-16" / "text-problem.parquet"
    loose.parent.mkdir(parents=True)
    loose.write_bytes(saved.read_bytes())
    trees, search = RunTrees(tmp_path), "best-of-n-16/text-problem.parquet"
    assert trees.load(search, "text/problem") == found
    trees.fold()
    assert not loose.exists() and trees.load(search, "text/problem") == found


def test_a_folder_of_trees_is_shown_in_part(tree: Tree, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "set" / "trees").mkdir(parents=True)
    for i in range(3):
        one = Tree.from_row(tree.to_row() | {"metadata": json.dumps(tree.metadata | {"problem": f"made/{i}"})})
        save_trees([one], tmp_path / "set" / "trees" / f"part-{i}.parquet")
    out = tmp_path / "page.html"
    model = ["--model", tiny_folder]
    assert invoke("view", tmp_path / "set", "--limit", 2, "--out", out, *model).exit_code == 0
    assert [shown["title"] for shown in data_of(out)] == ["made/0", "made/1"]
    assert invoke("view", tmp_path / "set", "--problem", "made/2", "--out", out, *model).exit_code == 0
    assert [shown["title"] for shown in data_of(out)] == ["made/2"]


def stored(tree: Tree, folder: Path, problem: Problem, source: Path, **settings: Any) -> Path:
    """A dataset's folder with a tree of `problem`, whose programs are all judged to be wrong."""
    (folder / "trees").mkdir(parents=True)
    about = {"problems": str(source), "split": None, "template": DEFAULT_TEMPLATE.name, "template_hash": DEFAULT_TEMPLATE.hash}
    (folder / "settings.json").write_text(json.dumps(about | settings))
    told = {"problem": problem.id, "statement_hash": statement_hash(problem), "status": "independent"}
    one = Tree.from_row(tree.to_row() | {"metadata": json.dumps(told)})
    one.verdicts = ["wrong_answer"] * len(one.rollouts)
    save_trees([one], folder / "trees" / "0-of-1-00000.parquet")
    return folder


def test_a_dataset_shows_its_statements_and_the_failing_tests(tree: Tree, tiny_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "doubling.txt", tmp_path / "page.html"
    source.write_text(STATEMENT)
    [problem] = load_problems(source)
    model = ["--model", tiny_folder, "--out", out]
    run = invoke("view", stored(tree, tmp_path / "set", problem, source), *model)
    assert run.exit_code == 0, (run.output, run.exception)
    [shown] = data_of(out)
    assert shown["statement"] == problem.statement and shown["candidates"]
    for candidate in shown["candidates"]:
        assert candidate["failure"]["index"] == 0 and candidate["failure"]["expected"] == "4", candidate
    gone = stored(tree, tmp_path / "gone", problem, tmp_path / "gone.txt")
    run = invoke("view", gone, *model)
    [shown] = data_of(out)
    assert run.exit_code == 0 and shown["statement"] is None and "not on this machine" in run.stderr, run.output
    assert invoke("view", gone, "--problems", source, *model).exit_code == 0
    assert data_of(out)[0]["statement"] == problem.statement
    source.write_text(STATEMENT.replace("Double", "Halve"))
    run = invoke("view", gone, "--problems", source, *model)
    assert isinstance(run.exception, GuidedGenError) and "hash" in str(run.exception)


def test_statements_of_untouched_problems_are_not_shown(tree: Tree, tiny_folder: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "doubling.txt", tmp_path / "page.html"
    source.write_text(STATEMENT)
    folder = stored(tree, tmp_path / "set", load_problems(source)[0], source, split="untouched")
    run = invoke("view", folder, "--model", tiny_folder, "--out", out)
    assert run.exit_code == 0 and "final reports" in run.stderr and data_of(out)[0]["statement"] is None, run.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["view", "FOLDER"], "not a dataset's folder"),
        (["view", "FILE"], "cannot be read"),
        (["serve", "--api-key-file", "FILE"], "no API key"),
        (["serve", "--scorer", "value", "--value", "none"], "value model"),
        (["serve", "--policy", "magic"], "no policy"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(arguments: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    names = {"FOLDER": tmp_path, "FILE": tmp_path / "empty.txt"}
    run = invoke(*(names.get(argument, argument) for argument in arguments))
    assert isinstance(run.exception, GuidedGenError) and told in str(run.exception)
