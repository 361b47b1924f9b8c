"""What the page shows of a dataset's trees beside their tokens: the problem's statement, and the test that a wrong program fails.

The trees hold neither: the statement is the problem's, and the test is found by judging the program again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .data_builder.dataset import ProblemTexts
from .data_builder.judge.judge import Judge
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.loaders import is_local
from .data_builder.tree_folder import read_settings
from .engine.errors import DataError
from .engine.progress import stage
from .engine.tree import Tree
from .value_data import problems_of


def dataset_problems(folder: Path, source: str | None) -> ProblemTexts:
    """The problems of a dataset, from `source` or from where its build found them; nothing is fetched that nobody named. Raises
    DataError where they are not on this machine or other ones, SettingsError where they are kept for final reports.
    """
    settings = read_settings(folder)
    if source is None and not is_local(settings["problems"]):
        raise DataError(f"the problems, {settings['problems']}, are not on this machine; name where they are with --problems")
    return ProblemTexts(settings, problems_of([folder], source))


def add_failures(trees: Sequence[Tree], texts: ProblemTexts, tokenizer: Any) -> None:
    """Note in each tree's metadata, as a search does, the first test that each wrong program fails. Raises JudgeError."""
    with Judge(stop_at_first_failure=True) as judge, stage("Judging the wrong programs again", float(len(trees))) as advance:
        for i, tree in enumerate(trees):
            problem, verdicts = texts.problem(tree), {}
            for row, leaf in enumerate(tree.rollouts.leaf.tolist()):
                if tree.verdicts[row] not in (None, "passed"):
                    text = tokenizer.decode(tree.tokens(leaf).tolist(), skip_special_tokens=True)
                    verdicts[row] = judge.submit(problem, extract_program(text))
            failures = {row: verdict.result().failure for row, verdict in verdicts.items()}
            tree.metadata["failures"] = {str(row): asdict(failure) for row, failure in failures.items() if failure is not None}
            advance(i + 1)
