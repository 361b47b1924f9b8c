"""Recipes: their commands exist with all their options, they run in order, and a dry run says what they would cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

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
    ],
)
def test_a_recipe_that_cannot_run_is_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        check_steps(load_recipe(path), cli)
    assert "\n" not in str(error.value)


def test_steps_run_in_order_from_the_one_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: [{models path: {arguments: [nowhere/no]}}, {models path: {arguments: [" + str(tmp_path) + "]}}]")
    with pytest.raises(GuidedGenError, match="nowhere"):
        CliRunner().invoke(cli, ["recipe", str(path)], catch_exceptions=False, env={"HF_HUB_OFFLINE": "1"})
    with pytest.raises(GuidedGenError, match=tmp_path.name):
        CliRunner().invoke(cli, ["recipe", "--from-step", "2", str(path)], catch_exceptions=False, env={"HF_HUB_OFFLINE": "1"})
