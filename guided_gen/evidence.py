"""What a search knows of its complete answers, as one probability each: value, log-probability, examples, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .candidate_checks import CandidateChecks
from .data_builder.judge.executions import NOT_RUN, Execution
from .engine.scorers import reader as mean_reading
from .engine.search import Search
from .engine.tree import Ended
from .known_values import SHIPPED
from .solution import Likelihood
from .valuemodel.evidence import EvidenceModel, Finished, columns
from .valuemodel.made_for import value_sha256

EVIDENCE, WITH_READER = "evidence.json", "evidence-reader.json"
"""Beside a value model: what weighs its values. In the folder of all value models: what weighs evidence without values."""


def shipped_evidence(value: str | Path | None, reads: bool = False) -> EvidenceModel:
    """With a reader the evidence model that knows readings; else the one that was fitted to the value model in this folder, or
    else the one that reads no values.

    Raises ValueModelError.
    """
    if reads:
        return EvidenceModel.load(SHIPPED / WITH_READER)
    if value is not None and (Path(value) / EVIDENCE).is_file():
        beside = EvidenceModel.load(Path(value) / EVIDENCE)
        if beside.about.get("value_sha256") == value_sha256(Path(value)):
            return beside
    return EvidenceModel.load(SHIPPED / EVIDENCE)


def likelihoods(
    model: EvidenceModel, search: Search, checks: CandidateChecks, parses: Mapping[int, bool]
) -> dict[int, Likelihood]:
    """By leaf, of the complete answers whose checks are done, among each other. `parses`: of each complete leaf."""
    samples = search.samples(Ended.EOS)
    leaves = [leaf for leaf in samples if leaf in parses and checks.is_done(leaf)]
    if not leaves:
        return {}
    found = _finished(search, leaves, samples, checks, parses)
    told = columns(found)
    numbers = zip(leaves, model.probabilities(told).tolist(), told["agreement"].tolist(), strict=True)
    return {leaf: Likelihood(likely, None if np.isnan(agree) else agree) for leaf, likely, agree in numbers}


def _finished(
    search: Search, leaves: list[int], samples: Mapping[int, int], checks: CandidateChecks, parses: Mapping[int, bool]
) -> Finished:
    tree, rows = search.tree, np.asarray(leaves)
    executions = [checks.execution(leaf) or Execution() for leaf in leaves]
    inputs = max(len(one.classes) for one in executions)
    classes, results = np.full((len(leaves), inputs), NOT_RUN), np.zeros((len(leaves), inputs), bool)
    for row, one in enumerate(executions):
        classes[row, : len(one.classes)] = one.classes
        results[row, : len(one.results)] = one.results
    verdicts = [checks.verdict(leaf) for leaf in leaves]
    passed = np.asarray([0 if verdict is None else verdict.tests.count("passed") for verdict in verdicts])
    shown = checks.examples
    opinions = [checks.accepted(leaf) for leaf in leaves]
    if all(isinstance(opinion, bool) for opinion in opinions):  # one more example, which the caller knows
        passed, shown = passed + np.asarray(opinions, np.int64), shown + 1
    return Finished(
        counts=np.asarray([samples[leaf] for leaf in leaves]),
        lengths=tree.depth[rows],
        logprobs=tree.logprob_sum[rows] / tree.depth[rows],
        ended=np.ones(len(leaves), bool),
        parses=np.asarray([parses[leaf] for leaf in leaves]),
        passed=passed,
        shown=shown,
        classes=classes,
        results=results,
        values=tree.nodes.value[rows].astype(np.float64),
        readings=mean_reading(tree)[rows],
    )
