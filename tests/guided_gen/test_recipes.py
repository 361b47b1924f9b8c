"""Recipes: their commands exist with all their options, they run in order, and a dry run says what they would cost."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_gen.cli import cli
from guided_gen.cli.recipe import Step, check_steps, load_recipe
from guided_gen.engine.errors import GuidedGenError, SettingsError

RECIPES = sorted((Path(__file__).parents[2] / "benchmarks" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_asks_for_what_the_commands_do(path: Path) -> None:
    recipe = load_recipe(path)
    check_steps(recipe, cli)
    shown = CliRunner().invoke(cli, ["recipe", "--dry-run", str(path)], catch_exceptions=False)
    assert all(f"guided-gen {' '.join(step.arguments())}" in shown.output for step in recipe.steps)


def test_arguments_are_those_of_the_command_line() -> None:
    step = Step(
        ("bench", "replay"), {"out": "dir", "seed": 3, "quiet": True, "loud": False, "data": ["a", "b"], "arguments": ["x"]}
    )
    assert step.arguments() == ["bench", "replay", "--out", "dir", "--seed", "3", "--quiet", "--data", "a", "--data", "b", "x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "cannot be read as YAML"),
        ("[" * 5000, "cannot be read as YAML"),
        ("a: 2024-13-45", "cannot be read as YAML"),
        ("a: 1\n" * 250_000, "cannot be read as YAML"),
        ("{1: 2, b: 3}", "no list of steps"),
        ("about: nothing", "no list of steps"),
        ("steps: [{build: {out: d}}]\nplans: {}", "unknown part 'plans'"),
        ("steps: [build]", "step 1 of .* is not one command"),
        ("steps: [{bild: {out: d}}]", "no command 'bild'"),
        ("steps: [{build: {out: d, fork: 6}}]", "no option 'fork'"),
        ("steps: [{build: {split: train}}]", "needs the option 'out'"),
        ("steps: [{build: {out: d, forks: many}}]", "does not take 'many' as forks"),
        ("steps: [{build: {out: d, forks: [1, 2]}}]", "takes one forks, not 2"),
        ("steps: [{train: {data: d, out: o, balanced: 1}}]", "true or false as balanced"),
        ("steps: [{build: {out: d, arguments: x}}]", "sets 'arguments' to what it cannot be"),
        ("steps: [{build: &a {out: *a}}]", "sets 'out' to what it cannot be"),
        (f"steps: [{{build: {{out: 0x{'F' * 9000}}}}}]", "sets 'out' to what it cannot be"),
        ("steps: [{build: {out: d, 3: 4}}]", "an option whose name is no text"),
        ("steps: [{build: {out: d}}]\nplan: 3", "plan has parts with names"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        check_steps(load_recipe(path), cli)
    assert "\n" not in str(error.value)


SCALARS = st.sampled_from(["", "x", "3", 3, -1, 0, 2.5, 1e300, float("nan"), True, None, 1 << 80, date(2024, 1, 1)])
NODES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2) | SCALARS, inner, max_size=3)
)
PLAN = yaml.safe_load((RECIPES[0].parent / "phi-4-mini.yaml").read_text())["plan"]
MODEL = next(iter(PLAN["models"]))
STEPS = st.sampled_from(
    [
        ("build", {"out": "d", "model": MODEL}, ["forks", "limit", "model", "arguments"]),
        ("adapt", {"out": "d", "arguments": [MODEL]}, ["hours", "arguments"]),
        ("train", {"out": "v", "data": "d", "model": MODEL}, ["epochs", "balanced", "model"]),
    ]
)


@given(STEPS, st.sampled_from([(part, name) for part in PLAN for name in PLAN[part]]), NODES, st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_recipe_holds_it_is_estimated_or_refused(
    tmp_path: Path, step: tuple[str, dict[str, Any], list[str]], of_plan: tuple[str, str], node: Any, data: st.DataObject
) -> None:
    (words, options, names), (part, name) = step, of_plan
    plans = {"number": PLAN | {part: PLAN[part] | {name: node}}, "part": PLAN | {part: node}, "plan": node}
    place = data.draw(st.sampled_from(["option", *plans]))
    made = options | {data.draw(st.sampled_from(names)): node} if place == "option" else options
    path = tmp_path / "made.yaml"
    path.write_text(yaml.safe_dump({"steps": [{words: made}], "plan": plans.get(place, PLAN)}))
    try:
        assert CliRunner().invoke(cli, ["recipe", "--dry-run", str(path)], catch_exceptions=False).exit_code == 0
    except GuidedGenError as error:
        assert "\n" not in str(error)


def test_steps_run_in_order_from_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: [{models path: {arguments: [nowhere/no]}}, {models path: {arguments: [" + str(tmp_path) + "]}}]")
    with pytest.raises(GuidedGenError, match="nowhere"):
        CliRunner().invoke(cli, ["recipe", str(path)], catch_exceptions=False, env={"HF_HUB_OFFLINE": "1"})
    with pytest.raises(GuidedGenError, match=tmp_path.name):
        CliRunner().invoke(cli, ["recipe", "--from-step", "2", str(path)], catch_exceptions=False, env={"HF_HUB_OFFLINE": "1"})
