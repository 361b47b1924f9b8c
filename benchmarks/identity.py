"""What results are of: model, prompt, judge, data and value model, by names and hashes. Results are comparable if these agree."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data_builder.build_settings import statement_hash
from ..data_builder.judge import comparison
from ..data_builder.judge.verdict import Limits
from ..data_builder.problems import extraction
from ..data_builder.problems.problem import Problem
from ..engine.tree import Tree
from ..valuemodel.identity import value_sha256

SHARED = ("model", "model_sha256", "precision", "template", "template_hash", "sampling", "max_new_tokens")
"""Of the settings of a dataset, those that decide what its rollouts are drawn from."""


def value_identity(folder: Path | None) -> dict[str, Any]:
    """Name and hash of a value model. Raises NoValueModel."""
    if folder is None:
        return {"value": None, "value_sha256": None}
    return {"value": folder.name, "value_sha256": value_sha256(folder)}


def pool_identity(settings: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    """Of a dataset with these settings, to which `tree` belongs. Its judge is known by its isolation."""
    return {name: settings[name] for name in (*SHARED, "problems", "split")} | {"judge": tree.metadata["isolation"]}


def judge_identity(isolation: str) -> str:
    """The level of isolation and a hash of the limits and of the rules that read and compare answers."""
    rules = [Path(str(module.__file__)).read_bytes() for module in (comparison, extraction)]
    told = repr(sorted(asdict(Limits()).items())).encode()
    return f"{isolation}, rules {hashlib.sha256(b''.join([told, *rules])).hexdigest()[:12]}"


def problem_data(problem: Problem) -> str:
    """A hash of the problem: what the prompt shows, and the tests."""
    tests = hashlib.sha256(repr(problem.tests).encode("utf-8", "surrogatepass")).hexdigest()
    return f"{statement_hash(problem)[:16]}-{tests[:16]}"


def pool_data(tree: Tree) -> str:
    """What a stored tree knows of its problem: the statement's hash and the number of tests."""
    return f"{tree.metadata['statement_hash'][:16]}-{tree.metadata['tests']}"
