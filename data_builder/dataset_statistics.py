"""What is in a dataset: the counts of the paper's Table 1 and its appendix 7.5, and what the forks cost and where they lie."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engine.tree import Ended, Tree
from .dataset import Part, ProblemTexts, common_settings, held_out, oversampled, parts, problem_format, read_trees
from .problems.problem import Problem
from .tree_folder import problem_ids, read_skipped, tree_files

BINS = 10


@dataclass
class SampleCounts:
    """A row of Table 1: problems, the rollouts of them that a model is trained or tested on, correct ones, their mean length."""

    problems: int = 0
    rollouts: int = 0
    correct: int = 0
    tokens: int = 0

    def add(self, tree: Tree, chosen: Sequence[Part]) -> None:
        self.problems += 1
        for part in chosen:
            self.rollouts += part.multiplicity
            self.correct += part.multiplicity * part.correct
            self.tokens += part.multiplicity * tree.depth_of(int(tree.rollouts.leaf[part.row]))


@dataclass
class DatasetStatistics:
    """Counts of a dataset.

    problems: by status; skipped: by reason. samples: "train imbalanced" and so on, over trunks and branches (or independent
    rollouts). formats, difficulties: by split, of all problems with a tree. correct_shares: problems by the share of correct
    rollouts among those of `samples`, in tenths from 0, all correct in the last. fork_positions: branch points by their relative
    position in the trunk, in tenths. drawn, correct, distinct, cut: rollouts by kind, and how many of them are correct, differ
    within their problem and kind, reached the longest answer allowed. tokens: decoded, by stage ("excluded tries" apart), and
    "full rollouts": the length of all trunks and branches from the prompt on. nodes and bytes: as stored.
    """

    problems: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    samples: dict[str, SampleCounts] = field(default_factory=lambda: defaultdict(SampleCounts))
    formats: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    difficulties: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    correct_shares: list[int] = field(default_factory=lambda: [0] * BINS)
    fork_positions: list[int] = field(default_factory=lambda: [0] * BINS)
    drawn: Counter[str] = field(default_factory=Counter)
    distinct: Counter[str] = field(default_factory=Counter)
    correct: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    nodes: int = 0
    bytes: int = 0

    @property
    def token_ratio(self) -> float | None:
        """Tokens decoded for trunks and branches, against decoding each of these rollouts from its prompt."""
        full = self.tokens["full rollouts"]
        return (self.tokens["trunk"] + self.tokens["branches"]) / full if full else None

    def to_json(self) -> dict[str, Any]:
        samples = {name: vars(counts) for name, counts in self.samples.items()}
        return vars(self) | {"samples": samples, "token_ratio": self.token_ratio}


def dataset_statistics(
    folders: Sequence[Path],
    problems: Sequence[Problem] | None = None,
    *,
    test_share: float = 0.1,
    seed: int = 0,
    allow_untouched: bool = False,
) -> DatasetStatistics:
    """Count the trees of `folders`; the splits are those of `dataset.load` with equal `test_share` and `seed`."""
    texts = ProblemTexts(common_settings(folders), problems, allow_untouched)
    built = [problem for folder in folders for problem in problem_ids(folder)]
    test = held_out(built, test_share, seed)
    found = DatasetStatistics()
    for folder in folders:
        found.skipped.update(read_skipped(folder, set(built)).values())
        found.bytes += sum(path.stat().st_size for path in tree_files(folder))
    for tree in read_trees(folders):
        problem = texts.problem(tree)
        split = "test" if problem.id in test else "train"
        found.formats[split][problem_format(problem)] += 1
        found.difficulties[split][problem.difficulty or "unknown"] += 1
        _count(found, tree, split, seed)
    return found


def _count(found: DatasetStatistics, tree: Tree, split: str, seed: int) -> None:
    status = tree.metadata["status"]
    found.problems[status] += 1
    found.nodes += len(tree)
    everything = parts(tree)
    for part in everything:
        found.drawn[part.kind] += part.multiplicity
        found.correct[part.kind] += part.multiplicity * part.correct
        if tree.rollouts.ended[part.row] == Ended.LENGTH:
            found.cut[part.kind] += part.multiplicity
    for kind, _ in {(part.kind, int(tree.rollouts.leaf[part.row])) for part in everything}:
        found.distinct[kind] += 1
    for stage, tokens in tree.metadata["tokens"].items():
        found.tokens[f"excluded {stage}" if status == "excluded" else stage] += tokens
    if status == "excluded":
        return
    chosen = [part for part in everything if part.kind != "try"]
    found.samples[f"{split} imbalanced"].add(tree, chosen)
    balanced = oversampled(chosen, np.random.default_rng([seed, int(tree.prompt_hash[:16], 16)]))
    found.samples[f"{split} balanced"].add(tree, balanced)
    share = sum(p.multiplicity for p in chosen if p.correct) / sum(p.multiplicity for p in chosen)
    found.correct_shares[min(int(share * BINS), BINS - 1)] += 1
    if status == "kept":
        length = tree.metadata["tokens"]["trunk"]
        found.tokens["full rollouts"] += sum(p.multiplicity * tree.depth_of(int(tree.rollouts.leaf[p.row])) for p in chosen)
        for node in tree.metadata["fork_nodes"]:
            found.fork_positions[(tree.depth_of(node) - 1) * BINS // length] += 1


def plot_fork_positions(found: DatasetStatistics, path: Path) -> None:
    """A PNG of where in the trunk the branch points lie."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.bar(
        (np.arange(BINS) + 0.5) / BINS, np.asarray(found.fork_positions) / max(sum(found.fork_positions), 1), width=0.9 / BINS
    )
    axes.set_xlabel("position in the trunk")
    axes.set_ylabel("share of branch points")
    axes.set_xlim(0, 1)
    figure.savefig(path, dpi=150)
