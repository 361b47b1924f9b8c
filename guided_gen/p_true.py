"""What the generator says when it is asked whether an answer is correct: P(True), a shortcut to compare values with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .benchmarks.text_scorers import TEXT_SCORERS, judged_scores
from .data_builder.problems.loaders import load_problems
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import template_named
from .data_builder.tree_folder import read_settings
from .engine.models.loading import load_model
from .valuemodel.packing import PromptedTree
from .valuemodel.rollout_table import Answer, Ask


def asks_generator(
    generator: Path,
    precision: str,
    template_name: str,
    folders: Sequence[Path],
    problems: Sequence[Problem] | None = None,
    allow_untouched: bool = False,
) -> Ask:
    """Asks the model in `generator` about answers to the problems that the datasets in `folders` were built from.

    An answer without a program has 0. `problems` as in `value_data.load_prompted_trees`, which checks them.
    """
    loaded = load_model(str(generator), precision)
    template = template_named(template_name)
    if problems is None:
        built = {(settings["problems"], settings["split"]) for settings in map(read_settings, folders)}
        problems = [one for source, split in built for one in load_problems(source, split, allow_untouched=allow_untouched)]
    by_id = {problem.id: problem for problem in problems}

    def ask(one: PromptedTree, answers: Sequence[Answer]) -> list[float]:
        programs = ["".join(answer.pieces[slice(*answer.code)]) if answer.code else "" for answer in answers]
        said = judged_scores(
            loaded.language_model, loaded.tokenizer, TEXT_SCORERS["p-true"], by_id[one.problem], programs, template
        )
        return [0.0 if score is None else score for score in said]

    return ask
