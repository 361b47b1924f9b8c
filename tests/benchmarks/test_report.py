"""Reports of made-up results: each arm against brute force, the paired comparisons, and bytes that depend on the lines alone."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guided_gen.benchmarks.readings import readings_of
from guided_gen.benchmarks.report import figures
from guided_gen.benchmarks.report_page import write_report
from guided_gen.benchmarks.report_text import cells, heads, notes, title
from guided_gen.benchmarks.results import Results, read_results
from guided_gen.engine.errors import DataError

from .made_up_lines import RUN, answer, random_searches, search, write_lines


def results(*lines: dict[str, Any]) -> Results:
    return Results(RUN, list(lines))


CANDIDATES = [
    answer("passed", {"logprob": -0.5, "value": 0.4}, examples=True),
    answer("wrong_answer", {"logprob": -0.2, "value": 0.9}, examples=False, multiplicity=2),
    answer("wrong_answer", {"logprob": -0.5, "value": 0.4}, examples=True),
    answer("exception", {"logprob": -0.9, "value": None}, examples=None),
    answer(None, {"logprob": -0.1, "value": 0.99}),
]


def brute_force(rank: Any, k: int) -> float:
    """The share of all orders of the samples, those that agree with `rank` alone, whose first k hold a correct one."""
    samples = [one for one in CANDIDATES if one["verdict"] for _ in range(one["multiplicity"])]
    passed, orders = 0, 0
    for order in itertools.permutations(range(len(samples))):
        keys = [rank(samples[i]) for i in order]
        if keys == sorted(keys, reverse=True):
            orders += 1
            passed += any(samples[i]["verdict"] == "passed" for i in order[:k])
    return passed / orders


def score(one: dict[str, Any], name: str) -> float:
    return -np.inf if one["scores"][name] is None else one["scores"][name]


RANKS = {
    "random": lambda one: 0,
    "logprob": lambda one: score(one, "logprob"),
    "value": lambda one: score(one, "value"),
    "examples": lambda one: one["examples"] is not False,
    "examples and value": lambda one: (one["examples"] is not False, score(one, "value")),
    "examples and logprob": lambda one: (one["examples"] is not False, score(one, "logprob")),
}


def test_each_ranking_is_the_mean_over_all_orders_that_agree_with_it() -> None:
    read = {one.arm.ranking: one for one in readings_of(results(search("p", CANDIDATES, examples_seconds=0.5)))}
    assert set(read) == set(RANKS)
    for ranking, rank in RANKS.items():
        for k in (1, 3):
            assert read[ranking].figures[f"pass@{k}"] == pytest.approx(brute_force(rank, k)), (ranking, k)
        assert read[ranking].figures["oracle"] == 1
        assert read[ranking].figures["seconds"] == 10.0 + (0.5 if "examples" in ranking else 0)


def test_examples_rank_only_where_they_were_run() -> None:
    weak = search("p", CANDIDATES, tests_kind="example")
    assert {one.arm.ranking for one in readings_of(results(weak))} == {"random", "logprob", "value"}


def test_a_search_without_a_complete_answer_passes_nothing() -> None:
    for reading in readings_of(results(search("p", CANDIDATES[-1:]))):
        assert reading.figures["pass@1"] == reading.figures["oracle"] == 0


def test_what_a_ranking_costs_is_added_to_its_arm() -> None:
    asked = search("p", CANDIDATES, ranking_costs={"value": {"seconds": 5.0, "scoring_seconds": 5.0, "passes": 7}})
    read = {one.arm.ranking: one.figures for one in readings_of(results(asked))}
    assert (read["value"]["seconds"], read["value"]["passes"], read["value"]["tokens"]) == (15.0, 47, 100.0)
    assert (read["logprob"]["seconds"], read["logprob"]["passes"]) == (10.0, 40)


def test_costs_that_were_not_measured_are_a_dash() -> None:
    cost = search("p", [])["cost"] | {"scoring_seconds": None, "peak_memory_mb": None}
    lines = [search(problem, CANDIDATES, cost=cost, examples_seconds=0.5) for problem in "pq"]
    made = figures(results(*lines), resamples=20)
    for row in made["tables"][0]["rows"]:
        assert row["costs"]["seconds"] >= 10 and row["costs"]["passes"] == 40
        assert row["costs"]["scoring_seconds"] is row["costs"]["scorer_share"] is row["costs"]["peak_memory_mb"] is None
        shown = dict(zip(heads(made), cells(made, row), strict=True))
        assert shown["scorer's share"] == shown["peak MB"] == "-"


def one_of(right: bool, **scores: float) -> dict[str, Any]:
    return answer("passed" if right else "wrong_answer", {"logprob": 0.0, "value": 0.0, **scores})


def rows_of(made: dict[str, Any], table: int = 0) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[name] for name in ("policy", "n", "ranking")): row for row in made["tables"][table]["rows"]}


def test_differences_are_paired_over_the_problems_that_both_arms_tried() -> None:
    lines = []
    for number in range(12):
        solved = number % 3 > 0
        lines.append(search(f"p{number}", [one_of(solved)]))
        if number < 6:  # as good, for half of the tokens
            cost = lines[0]["cost"] | {"tokens": 50.0, "seconds": 4.0}
            lines.append(search(f"p{number}", [one_of(solved)], policy="beam", scorer="value", cost=cost))
    made = figures(results(*lines), resamples=200)
    beam = rows_of(made)["beam", 16, "value"]
    assert beam["problems"] == 6 and beam["pass@1"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    same = beam["against"]["same ranking"]
    assert same["problems"] == 6
    assert same["pass@1"] == {"value": 0.0, "low": 0.0, "high": 0.0, "least": 0.0}
    assert same["tokens_saved"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def curve_and_policy(seconds: float) -> dict[str, Any]:
    """Best-of-n passes half of the problems with 1 candidate and all with 16; a policy passes all with the tokens of 4."""
    lines = []
    for number in range(40):
        for n in (1, 16):
            passed = n == 16 or number % 2 == 0
            lines.append(search(f"p{number}", [one_of(passed)], n=n, cost=cost_of(100.0 * n, 1.0 * n)))
        lines.append(search(f"p{number}", [one_of(True)], policy="beam", scorer="value", cost=cost_of(400.0, seconds)))
    return rows_of(figures(results(*lines), resamples=200))["beam", 16, "value"]


def cost_of(tokens: float, seconds: float) -> dict[str, float]:
    return {"tokens": tokens, "passes": 1, "seconds": seconds, "scoring_seconds": 0.0, "peak_memory_mb": 1.0}


def test_a_lead_is_over_the_curve_of_best_of_n_at_the_same_cost_and_needs_every_cost() -> None:
    early, late = curve_and_policy(4.0), curve_and_policy(40.0)
    assert early["lead"]["tokens"]["value"] == pytest.approx(1 - (0.5 + 0.5 * 300 / 1500), abs=1e-4)
    assert early["lead"]["seconds"]["value"] == pytest.approx(1 - (0.5 + 0.5 * 3 / 15), abs=1e-4)
    assert early["leads"]
    assert late["lead"]["tokens"] == early["lead"]["tokens"] and late["lead"]["seconds"]["value"] == 0
    assert not late["leads"]


def test_no_power_is_said_where_arms_can_hardly_differ() -> None:
    for mixed, enough in ((5, False), (6, True)):
        lines = [search(f"p{i}", [one_of(i < mixed), one_of(False, value=1.0)]) for i in range(20)]
        made = figures(results(*lines), resamples=20)
        [table] = made["tables"]
        assert table["power"] == table["power"] | {"mixed": mixed, "solved": mixed, "enough": enough}
        assert any("No power" in note for note in notes(table)) is not enough


def test_other_kinds_of_tests_have_tables_of_their_own() -> None:
    made = figures(results(*random_searches(20)), resamples=20)
    kinds = [table["of"] for table in made["tables"]]
    assert kinds[0] == {"tests_kind": "full"} and {"tests_kind": "example"} in kinds
    assert {"tests_kind": "full", "difficulty": "interview"} in kinds and {"tests_kind": "full", "format": "call-based"} in kinds
    whole = next(table for table in made["tables"] if table["of"] == {"tests_kind": "example"})
    assert whole["problems"] == 4 and any("refused" in note for note in notes(whole))
    assert not [row for row in whole["rows"] if "examples" in row["ranking"]]
    assert title(made["tables"][0]) == "Full tests: 16 problems"


def test_independent_samples_are_the_largest_best_of_n() -> None:
    lines = [search("p", [one_of(True), one_of(False)], n=2), search("p", [one_of(True)] + [one_of(False)] * 3, n=4)]
    lines.append(search("p", [one_of(True)] * 8, policy="rebase", n=8, scorer="value"))
    [table] = figures(results(*lines), resamples=20)["tables"]
    found = {one["k"]: one["value"] for one in table["independent"]["pass@k"]}
    assert table["independent"]["samples"] == 4 and found == {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}


FILES = ("report.json", "report.md", "report.html", "pass-at-1-by-tokens.png", "pass-at-1-by-seconds.png")


def test_the_same_lines_in_any_order_and_files_give_the_same_bytes(tmp_path: Path) -> None:
    lines = random_searches(12)
    whole = [write_lines(tmp_path / "all.jsonl", lines)]
    apart = [write_lines(tmp_path / "b.jsonl", lines[1::2][::-1]), write_lines(tmp_path / "a.jsonl", lines[::2])]
    for name, files in (("one", whole), ("two", apart)):
        write_report(files, tmp_path / name)
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_the_page_is_one_file_whose_texts_are_no_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(2)> & \u2028"
    lines = [
        search(evil, [answer("passed", {"logprob": 0.0, "value": 0.5}, program=evil)], difficulty=evil),
        search("q", CANDIDATES),
    ]
    write_report([write_lines(tmp_path / "lines.jsonl", lines)], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script>") == 2
    assert "<!-- " not in page and "<img src=x" not in page and "://" not in page.replace("http://www.w3.org/2000/svg", "")
    data = page.split('id="data">')[1].split("</script>")[0]
    assert evil in [line["problem"] for line in json.loads(data)["lines"]]


def test_lines_of_another_kind_make_no_report(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "searches.jsonl", [], RUN | {"kind": "searches"})
    with pytest.raises(DataError, match="searches"):
        figures(read_results([file]))
