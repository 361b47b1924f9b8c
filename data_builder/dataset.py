"""The dataset as `datasets` sees it: views of stored trees, with the problems' text joined in and a split by problem.

load([folder])                               one row a rollout: the trunks and branches of kept problems
load([folder], balanced=True)                the same with as many correct rollouts a problem as wrong ones
load([folder], view="trees", tries=True)     one row a tree, excluded problems and tries included
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from ..engine.errors import DataError
from ..engine.tree import Ended, Tree, load_trees
from ..engine.tree_files import SCHEMA
from .build_settings import statement_hash
from .problems.loaders import load_problems
from .problems.problem import Problem
from .problems.prompts import PromptTemplate, prompt_messages, template_named
from .tree_folder import problem_ids, read_settings, tree_files

if TYPE_CHECKING:
    import datasets

Kind = Literal["trunk", "branch", "try", "independent"]
PASSED = "passed"
_JOINED = [("statement", pa.string()), ("system", pa.string()), ("prompt", pa.string()), ("solution", pa.string())]
_ABOUT = [("problem_id", pa.string()), ("status", pa.string()), ("format", pa.string()), ("difficulty", pa.string())]
TREES = pa.schema([*_ABOUT, *SCHEMA, *_JOINED])
ROLLOUTS = pa.schema(
    [
        *_ABOUT,
        ("rollout", pa.int32()),  # its row in the tree
        ("kind", pa.string()),
        ("fork", pa.int32()),  # its own tokens begin after so many
        ("token_ids", pa.list_(pa.int32())),
        ("logprobs", pa.list_(pa.float32())),
        ("sample_logprobs", pa.list_(pa.float32())),
        ("ended", pa.string()),
        ("verdict", pa.string()),
        ("correct", pa.bool_()),
        *_JOINED,
    ]
)


@dataclass(frozen=True)
class Part:
    """`multiplicity` equal rollouts of a tree, of one kind: row `row` of its rollouts."""

    row: int
    kind: Kind
    multiplicity: int
    correct: bool


def load(
    folders: Sequence[str | Path],
    view: Literal["rollouts", "trees"] = "rollouts",
    *,
    balanced: bool = False,
    tries: bool = False,
    test_share: float = 0.1,
    seed: int = 0,
    problems: Sequence[Problem] | None = None,
    allow_untouched: bool = False,
) -> datasets.DatasetDict:
    """The trees of one or more folders with equal settings as `datasets`, in two splits, train and test, apart by problem.

    rollouts: one row a rollout (`ROLLOUTS`), equal ones as often as they were drawn. trees: one row a problem (`TREES`), with the
    multiplicity of every rollout. `tries`: also the main rollouts that did not become the trunk, and the excluded problems.
    `balanced`: in every problem with both classes the smaller one is oversampled to the size of the larger.

    `problems` are those that the trees were built from; by default they are loaded as the build did. Raises DataError where
    one is missing or another than it was.
    """
    import datasets

    paths = [Path(folder) for folder in folders]
    settings = common_settings(paths)
    texts = ProblemTexts(settings, problems, allow_untouched)
    test = held_out([problem for path in paths for problem in problem_ids(path)], test_share, seed)
    rows: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for tree in read_trees(paths):
        chosen = selected(tree, tries)
        if not chosen:
            continue
        if balanced:
            chosen = oversampled(chosen, np.random.default_rng([seed, int(tree.prompt_hash[:16], 16)]))
        problem = tree.metadata["problem"]
        joined = texts.columns(tree)
        made = [tree_row(tree, chosen)] if view == "trees" else rollout_rows(tree, chosen)
        rows["test" if problem in test else "train"].extend(row | joined for row in made)
    schema = TREES if view == "trees" else ROLLOUTS
    return datasets.DatasetDict(
        {name: datasets.Dataset(pa.Table.from_pylist(part, schema=schema)) for name, part in rows.items()}
    )


def common_settings(folders: Sequence[Path]) -> dict[str, Any]:
    """The settings of all `folders`. Raises DataError where they differ."""
    first = read_settings(folders[0])
    for folder in folders[1:]:
        if read_settings(folder) != first:
            raise DataError(f"{folders[0]} and {folder} were built with different settings and do not make one dataset")
    return first


def read_trees(folders: Sequence[Path]) -> Iterator[Tree]:
    """All trees, file by file. Raises DataError where two are of one problem."""
    seen: set[str] = set()
    for folder in folders:
        for path in tree_files(folder):
            for tree in load_trees(path):
                if tree.metadata["problem"] in seen:
                    raise DataError(f"{path} has a second tree of {tree.metadata['problem']}")
                seen.add(tree.metadata["problem"])
                yield tree


def held_out(ids: Sequence[str], share: float, seed: int) -> set[str]:
    """The ids that make the test split: the first `share` of them by a hash of seed and id."""
    ranked = sorted(set(ids), key=lambda problem: hashlib.sha256(f"test {seed} {problem}".encode()).digest())
    return set(ranked[: round(share * len(ranked))])


def parts(tree: Tree) -> list[Part]:
    """What the tree's rollouts were drawn as. A branch from the root may share the row of an equal try."""
    independent = tree.metadata["status"] == "independent"
    tries = tree.metadata.get("tries", [])
    found = []
    for row, total in enumerate(tree.rollouts.multiplicity.tolist()):
        as_try = tries[row] if row < len(tries) else 0
        as_trunk = int(row == tree.metadata.get("trunk"))
        counts: dict[Kind, int] = {"trunk": as_trunk, "try": as_try - as_trunk, "branch": total - as_try}
        if independent:
            counts = {"independent": total}
        correct = tree.verdicts[row] == PASSED
        found += [Part(row, kind, count, correct) for kind, count in counts.items() if count]
    return found


def selected(tree: Tree, tries: bool) -> list[Part]:
    """The parts that a view shows: with `tries` all, else those of the paper's training data; independent rollouts always."""
    return [part for part in parts(tree) if tries or part.kind != "try"]


def oversampled(chosen: Sequence[Part], rng: np.random.Generator) -> list[Part]:
    """`chosen` with the smaller class repeated to the size of the larger: whole copies, and a random part of one more."""
    counts = np.asarray([part.multiplicity for part in chosen])
    correct = np.asarray([part.correct for part in chosen])
    sizes = {label: int(counts[correct == label].sum()) for label in (False, True)}
    if not all(sizes.values()):
        return list(chosen)
    smaller = np.flatnonzero(correct == (sizes[True] < sizes[False]))
    copies, rest = divmod(max(sizes.values()), min(sizes.values()))
    drawn = rng.choice(np.repeat(smaller, counts[smaller]), rest, replace=False)
    repeated = counts.copy()
    repeated[smaller] = counts[smaller] * copies
    np.add.at(repeated, drawn, 1)
    return [Part(part.row, part.kind, int(count), part.correct) for part, count in zip(chosen, repeated.tolist(), strict=True)]


def tree_row(tree: Tree, chosen: Sequence[Part]) -> dict[str, Any]:
    """A row of `SCHEMA` in which each rollout counts as often as `chosen` says, and those not chosen are left out."""
    row = tree.to_row()
    counts: dict[int, int] = {}
    for part in chosen:
        counts[part.row] = counts.get(part.row, 0) + part.multiplicity
    kept = sorted(counts)
    for name in row:
        if name.startswith("rollouts."):
            row[name] = [row[name][i] for i in kept]
    row["rollouts.multiplicity"] = [counts[i] for i in kept]
    # What the metadata says of rows holds for the stored tree, not for these.
    metadata = {name: value for name, value in tree.metadata.items() if name not in ("tries", "trunk")}
    if tree.metadata.get("trunk") in counts:
        metadata["trunk"] = kept.index(tree.metadata["trunk"])
    return row | {"metadata": json.dumps(metadata, sort_keys=True)}


def rollout_rows(tree: Tree, chosen: Sequence[Part]) -> Iterator[dict[str, Any]]:
    """One row of `ROLLOUTS` for each rollout, the joined columns left out."""
    nodes, rollouts = tree.nodes, tree.rollouts
    for part in chosen:
        path = tree.path(int(rollouts.leaf[part.row]))
        row = {
            "rollout": part.row,
            "kind": part.kind,
            "fork": 0 if part.kind == "trunk" else tree.depth_of(int(rollouts.fork[part.row])),
            "token_ids": nodes.token_id[path],
            "logprobs": nodes.logprob[path],
            "sample_logprobs": nodes.sample_logprob[path],
            "ended": Ended(int(rollouts.ended[part.row])).name.lower(),
            "verdict": tree.verdicts[part.row],
            "correct": part.correct,
        }
        for _ in range(part.multiplicity):
            yield row


class ProblemTexts:
    """The problems that trees were built from, to join their text in."""

    def __init__(
        self, settings: Mapping[str, Any], problems: Sequence[Problem] | None = None, allow_untouched: bool = False
    ) -> None:
        """Without `problems` they are loaded as the settings say."""
        if problems is None:
            problems = load_problems(settings["problems"], settings["split"], allow_untouched=allow_untouched)
        self._problems = {problem.id: problem for problem in problems}
        self._template: PromptTemplate = template_named(settings["template"])
        if self._template.hash != settings["template_hash"]:
            raise DataError(f"the prompt template {self._template.name!r} is no longer the one that these trees were built with")

    def problem(self, tree: Tree) -> Problem:
        """The problem of `tree`. Raises DataError where it is missing or its text is not what the model was shown."""
        name = tree.metadata["problem"]
        if name not in self._problems:
            raise DataError(f"the problem {name}, of which there is a tree, is not among the problems")
        problem = self._problems[name]
        if statement_hash(problem) != tree.metadata["statement_hash"]:
            raise DataError(f"the problem {name} is not the one that its tree was built from: the hash of its statement differs")
        return problem

    def columns(self, tree: Tree) -> dict[str, Any]:
        """The columns that are joined to each row of `tree`; `solution` is None where the problem has none."""
        problem = self.problem(tree)
        system, user = (message["content"] for message in prompt_messages(problem, self._template))
        return {
            "problem_id": problem.id,
            "status": tree.metadata["status"],
            "format": problem_format(problem),
            "difficulty": problem.difficulty,
            "statement": problem.statement,
            "system": system,
            "prompt": user,
            "solution": problem.solutions[0] if problem.solutions else None,
        }


def problem_format(problem: Problem) -> str:
    return "call-based" if problem.is_call_based else "standard input"
