"""The library as its users write it: names, keywords, policies that are plain functions, and what is shown of a solution."""

from __future__ import annotations

import ast
import html
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import guided_gen
from guided_gen import (
    BackendError,
    Beam,
    Ended,
    GuidedGenerator,
    GuidedGenError,
    Sampling,
    SearchSettings,
    SettingsError,
    Solution,
    View,
)
from guided_gen.engine.scorers import mean_logprob
from guided_gen.notebook import NotebookBar
from guided_gen.solution import Progress, Solved

from .made_up_solutions import WRONG, candidate, solution

ROOT = Path(__file__).parents[2]
STATEMENT = "Double a number.\n\ndef double(x):\n\ndouble(2) == 4\n"
FAST: dict[str, Any] = {"n": 4, "max_new_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")


def test_all_names_are_there_and_importing_the_package_loads_neither_torch_nor_numpy() -> None:
    assert set(guided_gen._MODULE_OF) == set(guided_gen.__all__) - {"__version__"}
    for name in guided_gen.__all__:
        assert getattr(guided_gen, name) is not None
    with pytest.raises(AttributeError):
        _ = guided_gen.Nothing  # type: ignore[attr-defined]
    check = "import sys, guided_gen, guided_gen.cli.solve\nassert not {'torch', 'numpy', 'transformers'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=60).returncode == 0


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_what_the_docs_import_from_the_package_is_there(page: str) -> None:
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL):
        for statement in ast.walk(ast.parse(block)):
            if isinstance(statement, ast.ImportFrom) and statement.module == "guided_gen":
                assert {alias.name for alias in statement.names} <= set(guided_gen.__all__)


def texts(found: Solution) -> list[str]:
    return [candidate.text for candidate in found.candidates]


def test_keywords_mean_what_the_objects_mean(generator: GuidedGenerator) -> None:
    named: dict[str, Any] = {"policy": "beam:width=2", "scorer": "logprob", "temperature": 0.5, "top_p": 0.9}
    by_name = generator.solve(STATEMENT, check_every=4, **named, **FAST)
    settings = SearchSettings(policy=Beam(2), scorer=mean_logprob, sampling=Sampling(0.5, 0.9), check_every=4, **FAST)
    assert texts(by_name) == texts(generator.solve(STATEMENT, settings))
    assert by_name.tree.metadata["policy"] == "Beam(width=2)"
    at_lines = generator.solve(STATEMENT, check_at="lines", policy="beam:width=2", **FAST)
    assert texts(at_lines) == texts(generator.solve(STATEMENT, policy=Beam(2), line_ends=generator.line_ends(), **FAST))


def keep_the_first(view: View) -> np.ndarray:
    children = np.zeros_like(view.live)
    children[view.best_first()[:1]] = 1
    return children


def test_a_plain_function_is_a_policy(generator: GuidedGenerator) -> None:
    found = generator.solve(STATEMENT, policy=keep_the_first, check_every=4, **FAST)
    ended = [one.ended for one in found.candidates for _ in range(one.multiplicity)]
    assert ended.count(Ended.PRUNED) == 3 and found.tree.metadata["policy"] == "FunctionPolicy(keep_the_first)"


@pytest.mark.parametrize(
    ("question", "changes", "says"),
    [
        (42, {}, "not 42"),
        (["Double it."], {}, "role and content"),
        (STATEMENT, {"m": 4}, "no setting 'm'"),
        (STATEMENT, {"n": "4"}, "whole number"),
        (STATEMENT, {"settings": {"n": 4}}, "keywords"),
        (STATEMENT, {"policy": "wide"}, "no policy 'wide'"),
        (STATEMENT, {"policy": 4}, "not 4"),
        (STATEMENT, {"policy": Beam}, "policy object"),
        (STATEMENT, {"policy": "early-stop:lost=0.05"}, "value model"),
        (STATEMENT, {"scorer": "size"}, "no scorer 'size'"),
        (STATEMENT, {"temperature": "warm"}, "temperature is a number"),
        (STATEMENT, {"check_at": "words"}, "'words'"),
    ],
)
def test_wrong_arguments_are_one_sentence(generator: GuidedGenerator, question: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(GuidedGenError, match=says) as told:
        generator.solve(question, **changes)
    assert "\n" not in str(told.value)


def test_a_closed_generator_decodes_no_more(tiny_folder: Path) -> None:
    with GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32") as generator:
        left = iter(generator.stream(STATEMENT, n=2, max_new_tokens=500))
        next(left)
    with pytest.raises(BackendError, match="closed"):
        list(left)
    with pytest.raises(BackendError, match="closed"):
        generator.solve(STATEMENT, **FAST)
    generator.close()
    assert generator.scheduler.live == 0 and generator.loaded.language_model.statistics.cached_tokens == 0


def test_a_program_that_is_no_python_ranks_below_one_that_is_then_the_share_of_examples_decides() -> None:
    ranked = [
        candidate("def f(): return 1", 0.1, (2, 4)),
        candidate("def f(): return 2", 0.9, (1, 4), failure=WRONG),
        candidate("def f(): return 3", 0.2, (1, 4), failure=WRONG),
        candidate("def f(: return 1", 0.99, (0, 4), failure=WRONG),
        candidate("", 0.98, (0, 4), failure=WRONG),
        candidate("def f(): return 4", 0.99, None, Ended.LENGTH),
    ]
    assert sorted(ranked, key=lambda one: one.rank, reverse=True) == ranked


def test_a_solution_prints_as_a_short_table() -> None:
    found = solution(candidate("def double(x):\n    return 2 * x"), candidate("nothing(", examples=(0, 2)))
    head, titles, first, second = str(found).splitlines()
    assert head.startswith("2 candidates") and "examples" in titles
    assert "2 of 2" in first and "def double(x):" in first and "0 of 2" in second


def test_a_notebook_shows_the_search_in_a_frame_that_reaches_nothing(generator: GuidedGenerator) -> None:
    shown = generator.solve("Say <script>alert(1)</script> twice.", **FAST)._repr_html_()
    [page] = re.findall(r'<iframe sandbox="allow-scripts" style="[^"]*" srcdoc="([^"]*)"></iframe>', shown)
    assert "default-src 'none'" in html.unescape(page) and "<script>alert(1)" not in html.unescape(page)


def test_a_notebook_sees_a_bar_move_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    NotebookBar(4).show(Progress(1, 2, 30, 1.0, 0.5))  # no notebook here: nothing happens
    shown: list[str] = []
    shell = type("ZMQInteractiveShell", (), {})()
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(HTML=str, display=lambda text, display_id: (shown.append(text), handle)[1])
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell, display=display))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", display)  # type: ignore[arg-type]
    bar = NotebookBar(4)
    bar.show(Progress(1, 2, 30, 1.0, 0.5))
    bar.show(Solved(solution(candidate("pass"))))
    assert "<progress>" in shown[0] and 'value="3" max="4"' in shown[1] and shown[2] == ""


def test_the_example_on_the_page_about_solving_runs(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "solve.md").read_text(encoding="utf-8"), re.DOTALL)
    real = GuidedGenerator.from_pretrained
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda **_: real(str(tiny_folder), precision="float32"))
    exec(compile(example, "docs/solve.md", "exec"), {})
    assert "there is no policy 'wide'" in capsys.readouterr().out


def test_a_reader_ranks_and_its_likelihoods_are_the_readers_own(tiny_folder: Path, generator: GuidedGenerator) -> None:
    with pytest.raises(SettingsError, match="a reader"):
        generator.solve(STATEMENT, scorer="log-ratio", **FAST)
    with GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32", reader=str(tiny_folder)) as read:
        solution = read.solve(STATEMENT, **FAST)
        assert texts(solution) != []
        for candidate in solution.candidates:
            assert candidate.score == pytest.approx(0, abs=0.05)  # of the same weights, in int8 where there are kernels
        assert not np.isnan(solution.tree.nodes.reader_logprob).any()
    assert "log-ratio" in read.evidence.columns
