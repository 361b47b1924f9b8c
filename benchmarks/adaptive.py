"""Adaptive search by replay: it ends once a candidate is likely enough to be correct, and else goes on with fresh ones.

The engine's own search over stored independent rollouts (replay.py), which asks the evidence of its finished candidates after
each step. Evidence is known here as soon as a candidate has ended; in a real search it comes some steps later. All arms rank
complete candidates by the same probability, whose model is fitted to other problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..data_builder.stored_executions import StoredExecutions
from ..engine.policies import BestOfN, Policy
from ..engine.progress import stage
from ..engine.randomness import problem_key
from ..engine.scorers import Scorer
from ..engine.search import Search, advance_round
from ..engine.tree import Ended, Tree
from ..valuemodel.evidence import EvidenceModel, columns
from ..valuemodel.metrics import mean_of_defined, paired_difference, pass_of_top, problem_weights, ratio, shown
from .evidence_pools import EvidencePool
from .replay import Pool, ReplayModel, ReplaySession, ReplaySettings, opened

NEVER = 2.0
"""Likely enough for no candidate."""


@dataclass(frozen=True)
class Rule:
    """`n` candidates together, and `n` more while none is as likely as `enough`, up to `most`, as far as `budget` allows."""

    name: str
    n: int
    most: int
    enough: float = NEVER
    budget: int | None = None
    policy: Policy = field(default_factory=BestOfN)

    @property
    def told(self) -> dict[str, Any]:
        enough = None if self.enough == NEVER else self.enough
        return {"policy": self.name, "n": self.n, "most": self.most, "enough": enough, "budget": self.budget}


@dataclass(frozen=True)
class Problem:
    """A problem's pool as tokens, as evidence, and the evidence model that was fitted to others. rows: by leaf, of `told`."""

    pool: Pool
    told: EvidencePool
    model: EvidenceModel
    rows: dict[int, int]

    @classmethod
    def of(cls, tree: Tree, stored: StoredExecutions, told: EvidencePool, model: EvidenceModel) -> Problem:
        """`told`: of this tree and these executions."""
        leaves = tree.rollouts.leaf[stored.rollouts].tolist()
        return cls(Pool.of(tree), told, model, {leaf: row for row, leaf in enumerate(leaves)})


class AdaptiveReplay:
    """One search of a problem, whose samples are the pool's in the given order."""

    def __init__(self, problem: Problem, leaves: Sequence[int], rule: Rule, scorer: Scorer, settings: ReplaySettings) -> None:
        self._problem, self._rule = problem, rule
        self._probabilities: dict[tuple[tuple[int, int], ...], np.ndarray] = {}
        self._model = ReplayModel()
        self._search = opened(
            self._model, problem.pool, leaves, rule.n, rule.policy, scorer, replace(settings, budget=rule.budget)
        )
        self._search.further = self._further

    def run(self) -> dict[str, float]:
        """pass@1 of the complete candidates, tokens, sequential steps and samples begun."""
        search = self._search
        while not search.done:
            advance_round(self._model, [search])
            if not search.done and search.live and self._best(search) >= self._rule.enough:
                search.stop()
        rows, counts = self._complete(search)
        correct = self._problem.told.correct[rows]
        passed = pass_of_top(self._likely(rows, counts), correct, counts, 1)
        spent = {"tokens": search.decoded_tokens, "steps": self._model.steps, "samples": search.begun}
        return {"pass@1": passed} | {name: float(number) for name, number in spent.items()}

    def _further(self) -> int:
        if self._best(self._search) >= self._rule.enough:
            return 0
        return min(self._rule.n, self._rule.most - self._search.begun)

    def _best(self, search: Search) -> float:
        return float(self._likely(*self._complete(search)).max(initial=0.0))

    def _complete(self, search: Search) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(search.session, ReplaySession)
        found = {self._problem.rows[search.session.source[leaf]]: n for leaf, n in search.samples(Ended.EOS).items()}
        rows = sorted(found)
        return np.asarray(rows, np.int64), np.asarray([found[row] for row in rows], np.int64)

    def _likely(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.zeros(0)
        key = tuple(zip(rows.tolist(), counts.tolist(), strict=True))
        if key not in self._probabilities:
            found = self._problem.told.chosen(rows, counts).found
            self._probabilities[key] = self._problem.model.probabilities(columns(found))
        return self._probabilities[key]


def adaptive_figures(
    problems: Sequence[Problem],
    rules: Sequence[Rule],
    scorer: Scorer,
    settings: ReplaySettings,
    curve: Sequence[int] = (1, 2, 4, 8, 16),
) -> dict[str, Any]:
    """Each rule beside best of n, for the numbers in `curve`: pass@1 and tokens, paired with the largest best of n, and with best
    of n at the same tokens (the straight line between the two nearest).
    """
    weights = problem_weights(len(problems), settings.seed)
    fixed = [Rule("best-of-n", n, n) for n in curve]
    every = [*fixed, *rules]
    with stage(f"Replaying {len(problems)} problems", total=float(len(problems))) as advance:
        table: list[list[dict[str, float]]] = []
        for i, problem in enumerate(problems):
            table.append(list(_means(problem, every, scorer, settings)))
            advance(i + 1)
    found = {key: np.asarray([[one[key] for one in row] for row in table]) for key in table[0][0]}  # [problems, rules]
    tokens = found["tokens"].sum(axis=0)
    whole = len(fixed) - 1
    lines = []
    for index, rule in enumerate(every):
        passed = found["pass@1"][:, index]
        against, _ = paired_difference(passed, found["pass@1"][:, whole], weights)
        level = _at_tokens(found["pass@1"][:, : len(fixed)], tokens[: len(fixed)], tokens[index])
        lead, _ = paired_difference(passed, level, weights)
        means = {key: round(float(found[key][:, index].mean()), 2) for key in ("tokens", "steps", "samples")}
        share = shown(ratio(found["tokens"][:, index], found["tokens"][:, whole], weights))
        figures = {"pass@1": shown(mean_of_defined(passed, weights)), "against": against.rounded(), "lead": lead.rounded()}
        lines.append(rule.told | means | {"share": share} | figures)
    return {"problems": len(problems), "resamples": settings.resamples, "arms": lines}


def _means(problem: Problem, rules: Sequence[Rule], scorer: Scorer, settings: ReplaySettings) -> Iterator[dict[str, float]]:
    """A line a rule: the means over all resamples, which the rules share."""
    rng = np.random.default_rng([settings.seed, problem_key(problem.pool.tree.prompt_hash)])
    orders = [rng.permutation(len(problem.pool)) for _ in range(settings.resamples)]
    for rule in rules:
        ran = [AdaptiveReplay(problem, problem.pool.leaves[order].tolist(), rule, scorer, settings).run() for order in orders]
        yield {key: float(np.mean([one[key] for one in ran])) for key in ran[0]}


def _at_tokens(passed: np.ndarray, tokens: np.ndarray, spent: float) -> np.ndarray:
    """Best of n's pass@1 [problems] where it costs `spent`; passed [problems, numbers], tokens [numbers] rising."""
    above = int(np.clip(np.searchsorted(tokens, spent), 1, len(tokens) - 1))
    share = float(np.clip((spent - tokens[above - 1]) / (tokens[above] - tokens[above - 1]), 0.0, 1.0))
    level: np.ndarray = (1 - share) * passed[:, above - 1] + share * passed[:, above]
    return level


def adaptive_markdown(figures: dict[str, Any]) -> str:
    """One table, a row an arm."""
    lines = [
        f"{figures['problems']} problems, {figures['resamples']} orders of each pool's samples.",
        "",
        "| policy | n | most | enough | budget | tokens | of best of n | steps | pass@1 | against best of n | at equal tokens |",
        "|-|-|-|-|-|-|-|-|-|-|-|",
    ]
    for arm in figures["arms"]:
        cells = [arm["policy"], *("-" if arm[name] is None else str(arm[name]) for name in ("n", "most", "enough", "budget"))]
        cells += [f"{arm['tokens']:.0f}", f"{100 * arm['share']['value']:.0f}%", f"{arm['steps']:.0f}"]
        cells += [f"{100 * arm['pass@1']['value']:.1f}%", *(_change(arm[name]) for name in ("against", "lead"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _change(figure: dict[str, float | None]) -> str:
    value, low, high = (figure[name] or 0.0 for name in ("value", "low", "high"))
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
