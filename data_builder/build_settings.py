"""What a dataset is made with, and which part of the problems."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engine.errors import DataError, SettingsError
from ..engine.models.loaded_model import LoadedModel
from ..engine.sampling import Sampling
from .forking import STRATEGIES
from .problems.problem import Problem
from .problems.prompts import DEFAULT_TEMPLATE, PromptTemplate


@dataclass(frozen=True)
class BuildSettings:
    """How trees are grown. Every tree records it.

    `trunk_tries` main rollouts at most, `tries_at_once` in each go: the first correct one, by its number, is the trunk. `forks`
    branch points of the trunk (see forking.py) with `branches` rollouts each. `independent` instead samples so many rollouts from
    every prompt and forks nothing. Problems whose prompt has more than `max_prompt_tokens` are skipped.
    """

    forks: int = 6
    branches: int = 6
    trunk_tries: int = 8
    tries_at_once: int = 4
    strategy: str = "lowest_prob"
    min_distance: int = 1
    independent: int = 0
    sampling: Sampling = field(default_factory=Sampling)
    max_new_tokens: int = 512
    max_prompt_tokens: int = 1024
    template: PromptTemplate = DEFAULT_TEMPLATE
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("forks", "branches", "trunk_tries", "tries_at_once", "min_distance", "max_new_tokens", "max_prompt_tokens")
        for name in counts:
            if getattr(self, name) < 1:
                raise DataError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.independent < 0:
            raise DataError(f"the number of independent rollouts must be 0 (none) or more, not {self.independent}")
        if self.strategy not in STRATEGIES:
            raise SettingsError(f"there is no strategy {self.strategy!r}; there are {', '.join(STRATEGIES)}")

    def record(self, loaded: LoadedModel) -> dict[str, Any]:
        """These settings and the model as JSON: a tree's metadata, and what all trees of a folder have in common."""
        shape: dict[str, Any] = {"independent": self.independent}
        if not self.independent:
            names = ("forks", "branches", "trunk_tries", "tries_at_once", "strategy", "min_distance")
            shape = {name: getattr(self, name) for name in names}
        return {
            **generator_record(loaded, self.template, self.sampling),
            "max_new_tokens": self.max_new_tokens,
            "max_prompt_tokens": self.max_prompt_tokens,
            "seed": self.seed,
            **shape,
        }


def generator_record(loaded: LoadedModel, template: PromptTemplate, sampling: Sampling) -> dict[str, Any]:
    """What writes the answers, as JSON: weights, precision, prompts and sampling. Trees and results name their generator so."""
    return {
        "model": loaded.identity.name,
        "model_sha256": loaded.identity.sha256,
        "precision": loaded.precision,
        "template": template.name,
        "template_hash": template.hash,
        "sampling": {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k},
    }


@dataclass(frozen=True)
class Shard:
    """Part `index` of `count`, counted from 0, of a list of problems: every `count`-th one."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise DataError(f"there is no shard {self}: shards of {self.count} are numbered from 0 to {self.count - 1}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From "0/2". Raises DataError."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not int(match[2]):
            raise DataError(f"a shard is written like 0/2, not {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of(self, problems: Sequence[Problem]) -> list[Problem]:
        return list(problems[self.index :: self.count])


def build_order(problems: Sequence[Problem], seed: int) -> list[Problem]:
    """`problems` by a hash of seed and id: wherever a build is stopped, what is done is a random part of them all."""
    return sorted(problems, key=lambda problem: order_key(problem.id, seed))


def order_key(problem_id: str, seed: int) -> bytes:
    """By which problems are put in a random order that does not depend on which others there are."""
    return hashlib.sha256(f"{seed} {problem_id}".encode()).digest()


def statement_hash(problem: Problem) -> str:
    """SHA-256 of all that a prompt shows of the problem: statement, starter code and entry point."""
    shown = "\0".join((problem.statement, problem.starter_code, problem.entry_point or ""))
    return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()
