"""What a search tells who watches it grow: after each step the new tokens, and how every candidate stands."""

from __future__ import annotations

from collections.abc import Mapping

from .candidate_checks import CandidateChecks
from .engine.search import Search
from .engine.tree import Ended
from .solution import Grown, Likelihood, Standing

_ENDED = {Ended.LENGTH: "cut", Ended.STOPPED: "stopped", Ended.PRUNED: "pruned"}


class Watch:
    """Follows one search. Called by the thread that decodes it."""

    def __init__(self) -> None:
        self._told = 0  # nodes

    def grown(self, search: Search, checks: CandidateChecks, known: Mapping[int, Likelihood]) -> Grown:
        """What is new since the last call."""
        nodes = search.tree.nodes
        begin, self._told = self._told, len(nodes)
        scores = [None if score != score else score for score in search.scores().tolist()]
        samples = []
        for sample in search.samples_begun:
            verdict = checks.verdict(sample.leaf) if sample.ended == Ended.EOS and checks.is_done(sample.leaf) else None
            likely = known.get(sample.leaf) if sample.ended == Ended.EOS else None
            samples.append(
                Standing(
                    leaf=sample.leaf,
                    fork=sample.fork,
                    state=_state(sample.ended, checks, sample.leaf),
                    score=scores[sample.leaf] if sample.leaf >= 0 else None,
                    probability=None if likely is None else likely.probability,
                    examples=None if verdict is None else (verdict.tests.count("passed"), checks.examples),
                )
            )
        return Grown(begin, nodes.parent[begin:].tolist(), nodes.token_id[begin:].tolist(), samples)


def _state(ended: Ended, checks: CandidateChecks, leaf: int) -> str:
    if ended == Ended.LIVE:
        return "grows"
    if ended != Ended.EOS:
        return _ENDED[ended]
    if not checks.is_done(leaf):
        return "runs"
    verdict = checks.verdict(leaf)
    return "complete" if verdict is None else "passes" if verdict.passed else "fails"
