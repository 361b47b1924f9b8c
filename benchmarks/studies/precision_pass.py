"""Does the precision change how many answers pass? Two sets of independent rollouts of the same problems, compared in pass@1.

    guided-gen build --split validation --difficulty introductory --independent 10 --precision float32 --out FLOAT32
    guided-gen build --split validation --difficulty introductory --independent 10 --precision int8 --out INT8
    python -m guided_gen.benchmarks.studies.precision_pass FLOAT32 INT8

Problems that only one of them holds are left out.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from ...data_builder.dataset import read_trees
from ...engine.errors import DataError
from ...valuemodel.metrics import estimate, mean_of_defined, paired_difference, problem_weights
from ...valuemodel.targets import outcomes

_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


def shares(folder: Path) -> dict[str, float]:
    """The share of each problem's independent rollouts that pass."""
    found = {}
    for tree in read_trees([folder]):
        own = outcomes(tree, independent=True)
        if len(own.rows):
            found[str(tree.metadata["problem"])] = float(np.average(own.correct, weights=own.counts))
    return found


@click.command()
@click.argument("one", type=_FOLDER)
@click.argument("other", type=_FOLDER)
def main(one: Path, other: Path) -> None:
    """Print pass@1 of both on the problems that both hold, and the paired difference, with 95% intervals over problems."""
    first, second = shares(one), shares(other)
    both = sorted(set(first) & set(second))
    if not both:
        raise DataError(f"{one} and {other} have no problem in common")
    weights = problem_weights(len(both))
    columns = [np.asarray([share[name] for name in both]) for share in (first, second)]
    for folder, column in zip((one, other), columns, strict=True):
        click.echo(f"{folder}: pass@1 {estimate(mean_of_defined(column, weights))} on {len(both)} problems")
    click.echo(f"{other} less {one}: {paired_difference(columns[1], columns[0], weights)[0]}")


if __name__ == "__main__":
    main()
