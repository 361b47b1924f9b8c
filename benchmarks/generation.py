"""Generate: searches for answers, policy by policy, each search stored as it ends: its tree, its programs, what it cost.

The searches of one policy share a batch, up to `together` at a time, and no other policy runs beside them: wall times are of that
schedule. A killed run loses the searches in flight and nothing else. Nothing is judged here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data_builder.build_settings import generator_record
from ..data_builder.dataset import problem_format
from ..data_builder.problems.extraction import extract_program
from ..data_builder.problems.problem import Problem
from ..data_builder.problems.prompts import DEFAULT_TEMPLATE, PromptTemplate, prompt_ids
from ..data_builder.problems.quality import skip_reason
from ..engine.errors import ContextError
from ..engine.language_model import Prompt
from ..engine.models.loaded_model import LoadedModel
from ..engine.sampling import Sampling
from ..engine.scorers import Scorer
from ..engine.search import Search, SearchSettings, advance_round
from ..engine.tree import Ended
from .arms import Arm
from .costs import Cost, Meter
from .readings import FULL
from .results import LineFile, RunTrees, key_of, problem_data
from .text_scorers import TEXT_SCORERS, judged_scores


def gradable(problem: Problem) -> bool:
    """Whether a verdict on the problem means anything: it has tests, and full ones are no weaker than builds take."""
    return bool(problem.tests) and (problem.tests_kind != FULL or skip_reason(problem) is None)


@dataclass(frozen=True)
class GenerationSettings:
    """What all arms have in common. `together`: searches in one batch. `max_prompt_tokens`: problems with more are skipped."""

    max_new_tokens: int = 512
    max_prompt_tokens: int = 1024
    sampling: Sampling = field(default_factory=Sampling)
    template: PromptTemplate = DEFAULT_TEMPLATE
    check_every: int = 16
    budget: int | None = None
    together: int = 4
    seed: int = 0

    def record(self, loaded: LoadedModel) -> dict[str, Any]:
        """The model and these settings as JSON, for a first line."""
        return {
            **generator_record(loaded, self.template, self.sampling),
            **{name: getattr(self, name) for name in ("max_new_tokens", "max_prompt_tokens", "check_every", "budget")},
            **{name: getattr(self, name) for name in ("together", "seed")},
        }


@dataclass(frozen=True)
class Job:
    """One arm as it is searched with: `guide` names the scorer that it asks."""

    arm: Arm
    guide: str
    blind: bool

    def key(self, problem: Problem) -> dict[str, Any]:
        return {"problem": problem.id, "policy": self.arm.name, "n": self.arm.n, "scorer": "" if self.blind else self.guide}


def jobs_of(arms: Sequence[Arm], guides: Sequence[str], settings: GenerationSettings) -> list[Job]:
    """Each arm with each scorer that may guide it; once where it asks none."""
    made = []
    for arm in arms:
        blind = arm.blind(settings.budget)
        made += [Job(arm, guide, blind) for guide in arm.guided_by(guides)[: 1 if blind else None]]
    return made


@dataclass(frozen=True)
class Generated:
    """How far a generation is: searches done of all, and the tokens that those of this run took."""

    done: int
    total: int
    tokens: int


class Generator:
    """A loaded model that searches."""

    def __init__(self, loaded: LoadedModel, settings: GenerationSettings, scorers: Mapping[str, Scorer]) -> None:
        self.loaded, self.settings, self._scorers = loaded, settings, scorers

    def generate(
        self,
        problems: Sequence[Problem],
        jobs: Sequence[Job],
        rankings: Sequence[str],
        written: LineFile,
        trees: RunTrees,
        watch: Callable[[Generated], None] = lambda generated: None,
    ) -> None:
        """Search every problem with every job that `written` has no line of.

        `rankings`: those of `TEXT_SCORERS` that complete answers are asked about at once, while the model is loaded.
        """
        total = len(problems) * len(jobs)
        missing = [[problem for problem in problems if key_of(job.key(problem)) not in written.done] for job in jobs]
        done, tokens = total - sum(map(len, missing)), 0
        for job, waiting in zip(jobs, missing, strict=True):
            for problem, found in self._run(job, waiting, rankings):
                line = job.key(problem) | _about(problem) | {"blind": job.blind, "settings": job.arm.settings}
                if isinstance(found, str):
                    written.add(line | {"skipped": found})
                else:
                    name = _file_name(job, problem)
                    found.search.tree.metadata = {**line, **self.settings.record(self.loaded)}
                    trees.add(name, found.search.tree)
                    written.add(line | {"tree": name, "guide": job.guide} | found.line)
                    tokens += found.search.decoded_tokens
                done += 1
                watch(Generated(done, total, tokens))
        trees.fold()

    def _run(self, job: Job, waiting: Sequence[Problem], rankings: Sequence[str]) -> Iterator[tuple[Problem, _Found | str]]:
        """The searches of one job, as they end; or why a problem is skipped."""
        model = self.loaded.language_model
        meter = Meter(model)
        queue, active = list(reversed(waiting)), list[_Running]()
        try:
            while queue or active:
                while queue and len(active) < self.settings.together:
                    problem = queue.pop()
                    try:
                        active.append(self._open(job, problem, meter))
                    except ContextError:
                        yield problem, "prompt too long"
                if not active:
                    continue
                weights = [float(max(len(one.search.live), 1)) for one in active]
                with meter.charging([one.cost for one in active], weights):
                    advance_round(model, [one.search for one in active])
                for one in [one for one in active if one.search.done]:
                    active.remove(one)
                    model.close(one.search.session)
                    yield one.problem, self._found(one, rankings, meter)
        finally:
            for one in active:
                model.close(one.search.session)

    def _open(self, job: Job, problem: Problem, meter: Meter) -> _Running:
        settings, model = self.settings, self.loaded.language_model
        room = min(settings.max_prompt_tokens, model.max_length - settings.max_new_tokens)
        prompt = prompt_ids(self.loaded.tokenizer, problem, settings.template, max_tokens=room)
        reader = model.reader_tokenizer
        reader_ids = None if reader is None else prompt_ids(reader, problem, settings.template)
        cost = Cost()
        with meter.charging([cost], [1.0]):
            search = Search(
                model,
                Prompt(prompt, reader_ids),
                SearchSettings(
                    n=job.arm.n,
                    max_new_tokens=settings.max_new_tokens,
                    sampling=settings.sampling,
                    policy=job.arm.policy,
                    scorer=self._scorers[job.guide],
                    check_every=settings.check_every,
                    budget=settings.budget,
                    seed=settings.seed,
                    stop_ids=self.loaded.stop_ids,
                ),
            )
        return _Running(problem, search, cost)

    def _found(self, one: _Running, rankings: Sequence[str], meter: Meter) -> _Found:
        """`line`: programs and rankings have one entry a row of the tree's rollouts."""
        tree, tokenizer = one.search.tree, self.loaded.tokenizer
        leaves, ended = tree.rollouts.leaf.tolist(), (tree.rollouts.ended == Ended.EOS).tolist()
        programs = [extract_program(tokenizer.decode(tree.tokens(leaf), skip_special_tokens=True)) for leaf in leaves]
        complete = [program if whole else "" for program, whole in zip(programs, ended, strict=True)]
        line: dict[str, Any] = {"programs": programs, "cost": one.cost.line(one.search.decoded_tokens)}
        line |= {"rankings": {}, "ranking_costs": {}}
        for name in rankings:
            with meter.apart() as cost:
                asked = self.loaded.language_model, tokenizer, TEXT_SCORERS[name], one.problem, complete, self.settings.template
                line["rankings"][name] = judged_scores(*asked)
            spent = round(cost.seconds, 4)
            line["ranking_costs"][name] = {"seconds": spent, "scoring_seconds": spent, "passes": cost.passes}
        return _Found(one.search, line)


@dataclass
class _Running:
    problem: Problem
    search: Search
    cost: Cost


@dataclass(frozen=True)
class _Found:
    search: Search
    line: dict[str, Any]


def _about(problem: Problem) -> dict[str, Any]:
    return {
        "data": problem_data(problem),
        "tests_kind": problem.tests_kind,
        "difficulty": problem.difficulty,
        "format": problem_format(problem),
    }


def _file_name(job: Job, problem: Problem) -> str:
    parts = (f"{job.arm.name}-{job.arm.n}" + ("" if job.blind else f"-{job.guide}"), problem.id)
    return "/".join(re.sub(r"[^A-Za-z0-9.=_-]+", "-", part) for part in parts) + ".parquet"
