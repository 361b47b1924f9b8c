"""Stored datasets as evidence: their trees, a value model's values where there is one, and the executions beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .benchmarks.adaptive import Problem
from .benchmarks.evidence import first_step, fitted_draws, fold_models
from .benchmarks.evidence_pools import EvidencePool, evidence_pools
from .data_builder.dataset import common_settings
from .data_builder.stored_executions import read_executions
from .data_builder.tree_folder import read_settings
from .engine.errors import SettingsError
from .engine.models.files import cache_dir
from .engine.tree import Tree
from .value_data import pool_trees, tree_problem
from .valuemodel.evidence import EvidenceModel
from .valuemodel.evidence_fit import refitted


def load_pools(folders: Sequence[Path], value: Path | None = None, **options: Any) -> list[EvidencePool]:
    """The pools of all trees, by problem; one that several folders hold has several pools.

    The values of `value` are computed once, and kept in the cache directory; `options` are those of `value_data.load_scored`.
    Raises SettingsError for rollouts of the split untouched, unless allowed.
    """
    pools = [pool for one in folders for pool in evidence_pools(_trees([one], value, **options), read_executions(one))]
    return sorted(pools, key=lambda pool: pool.problem)


def adaptive_problems(
    folders: Sequence[Path],
    training: Sequence[EvidencePool],
    calibration: Sequence[EvidencePool] | None,
    names: Sequence[str],
    n: int,
    value: Path | None = None,
    **options: Any,
) -> list[Problem]:
    """Pools to search anew in (benchmarks/adaptive.py); the rest as in `load_pools` and `evidence_figures`.

    Raises SettingsError also where two of `folders` hold one problem.
    """
    trees = sorted(_trees(folders, value, **options), key=tree_problem)
    if len({tree_problem(tree) for tree in trees}) < len(trees):
        raise SettingsError("searches are replayed in one pool a problem: these datasets hold the same problems")
    stored = {problem: one for folder in folders for problem, one in read_executions(folder).items()}
    pools = evidence_pools(trees, stored)
    first, added = first_step([pool.labelled() for pool in training], names)
    fitted = fitted_draws(calibration if calibration is not None else pools, n, 1)
    models = fold_models(first, added, fitted, [pool.problem for pool in pools], crossed=calibration is None)
    every = zip(trees, pools, models, strict=True)
    return [Problem.of(tree, stored[pool.problem], pool, model) for tree, pool, model in every]


def _trees(folders: Sequence[Path], value: Path | None, **options: Any) -> Iterator[Tree]:
    if not options.get("allow_untouched") and any(read_settings(folder)["split"] == "untouched" for folder in folders):
        raise SettingsError("the split 'untouched' is kept for final reports: reading it must be allowed explicitly")
    return pool_trees(folders, value, cache_dir() / "pool-values", **options)


def fitted_model(
    training: Sequence[EvidencePool], calibration: Sequence[EvidencePool], columns: Sequence[str], n: int, about: dict[str, Any]
) -> EvidenceModel:
    """The model of `columns` in its two steps (evidence_fit.py), the second on draws of n of each problem."""
    first, added = first_step([pool.labelled() for pool in training], columns)
    draws = [one for of_problem in fitted_draws(calibration, n, 1) for one in of_problem]
    model = refitted(first, draws, added)
    counted = {"fitted_problems": len(training), "calibration_problems": len(calibration), "best_of": n}
    return EvidenceModel(model.columns, model.bias, about | counted)


def generator_of(folders: Sequence[Path]) -> dict[str, Any]:
    """What wrote the datasets' answers. Raises DataError where they differ."""
    settings = common_settings(folders)
    return {name: settings[name] for name in ("model", "model_sha256", "precision", "template", "template_hash")}
