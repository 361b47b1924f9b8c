"""The baseline for values with vLLM: an exported value model (a stock `*ForSequenceClassification`) in an engine of its own.

At each check every candidate's whole text is sent to it, and it computes what is new. Heads with a running mean need every new
token's number, so all are asked through `token_classify`. vLLM keeps that task from its prefix cache, since tokens that are found
there are missing in what it returns; here these are tokens whose numbers came at an earlier check, so it is let read the cache.
A value model in the generator's own pass (vllm_forked.py) does without the second model.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..errors import SettingsError
from ..language_model import Session as AnySession
from ..language_model import Statistics
from ..tree import ROOT
from .engine import VllmEngine
from .model import VllmLanguageModel, VllmSession
from .settings import VllmSettings

_numbers = itertools.count()


@dataclass(frozen=True)
class ValueFormula:
    """How a classifier's labels make a value (see `valuemodel.attach`): sigmoid(scale * (terms + ... + bias) + shift)."""

    terms: tuple[str, ...]
    bias: float
    logprob_weight: float
    scale: float
    shift: float

    @classmethod
    def of(cls, folder: Path) -> ValueFormula | None:
        """The formula in an exported folder's config.json; None for any other folder."""
        found = exported_about(folder)
        if found is None:
            return None
        return cls(tuple(found["terms"]), *(float(found[name]) for name in ("bias", "logprob_weight", "scale", "shift")))

    @property
    def width(self) -> int:
        return len(self.terms)

    def logit(self, last: torch.Tensor, mean: torch.Tensor, mean_logprob: torch.Tensor) -> torch.Tensor:
        """As `tail.PathHead.logit`."""
        terms = [(last if term == "last" else mean)[:, i] for i, term in enumerate(self.terms)]
        logit = torch.stack(terms).sum(dim=0) + self.logprob_weight * mean_logprob + self.bias
        return self.scale * logit + self.shift


def exported_about(folder: Path) -> dict[str, Any] | None:
    """What an exported folder says of its value model; None for any other folder."""
    try:
        about: dict[str, Any] | None = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("guided_gen_value")
    except (OSError, ValueError):
        return None
    return about


class Classifier:
    """An exported value model, served."""

    def __init__(self, folder: Path, precision: str, settings: VllmSettings) -> None:
        formula = ValueFormula.of(folder)
        if formula is None:
            raise SettingsError(f"{folder} is no exported value model; guided-gen export makes one")
        self.formula = formula
        arguments = settings.engine_arguments() | {
            "model": str(folder),
            "dtype": precision,
            "runner": "pooling",
            "skip_tokenizer_init": True,
            "enable_prefix_caching": True,
        }
        self.engine = VllmEngine(arguments, settings.patience)

    async def labels(self, token_ids: Sequence[int], whole: bool = False) -> np.ndarray:
        """[T, labels] of the last T tokens: those that were not in the prefix cache, or all. At least the last is not."""
        from vllm import PoolingParams

        parameters = PoolingParams(task="token_classify", use_activation=False, skip_reading_prefix_cache=whole)
        return await self.engine.patiently(self._labels(list(token_ids), parameters))

    async def _labels(self, token_ids: list[int], parameters: Any) -> np.ndarray:
        prompt, name = {"prompt_token_ids": token_ids}, f"guided-gen-value-{next(_numbers)}"
        try:
            async for output in self.engine.llm.encode(prompt, parameters, name):
                self.engine.last_news = time.monotonic()
                found: np.ndarray = output.outputs.data.float().numpy().astype(np.float64)
        except Exception as error:
            raise self.engine.failure(error) from error
        return found.reshape(-1, self.formula.width)


class PooledLanguageModel(VllmLanguageModel):
    """A generator whose values a `Classifier` gives."""

    def __init__(self, engine: VllmEngine, classifier: Classifier) -> None:
        super().__init__(engine, classifier.formula)
        self._width = 0  # the generator itself emits nothing
        self.classifier = classifier
        self._scoring_seconds = 0.0
        self.max_length = min(self.max_length, classifier.engine.llm.model_config.max_model_len)

    @property
    def statistics(self) -> Statistics:
        """`passes`: steps of both engines. `scoring_seconds`: how long `read` took; the generator may have decoded meanwhile."""
        steps = self.engine.counts.steps + self.classifier.engine.counts.steps
        return Statistics(steps, self._scoring_seconds, in_process=False)

    def read(self, wanted: Sequence[tuple[AnySession, np.ndarray]]) -> None:
        """Fill the values at the wanted nodes and on their paths."""
        start = time.perf_counter()
        unread = [
            (cast(VllmSession, session), node)
            for session, nodes in wanted
            for node in np.unique(nodes).tolist()
            if node != ROOT and node not in cast(VllmSession, session).emitted
        ]
        self.classifier.engine.run(self._read(unread))
        for session in {id(session): session for session, _ in unread}.values():
            self._score(session)
        self._scoring_seconds += time.perf_counter() - start

    async def _read(self, nodes: list[tuple[VllmSession, int]], whole: bool = False) -> None:
        sequences = [session.prompt_ids + session.tree.tokens(node).tolist() for session, node in nodes]
        found = await asyncio.gather(*(self.classifier.labels(token_ids, whole) for token_ids in sequences))
        for (session, node), labels in zip(nodes, found, strict=True):
            path = session.tree.path(node)[-len(labels) :].tolist()
            for above, numbers in zip(path, labels[-len(path) :], strict=True):
                session.emitted.setdefault(above, numbers)
        # Another search's answer began with the same tokens: the cache has them, and this tree has no numbers.
        lacking = [
            (session, node) for session, node in nodes if not session.emitted.keys() >= set(session.tree.path(node).tolist())
        ]
        if lacking:
            await self._read(lacking, whole=True)

    def end(self) -> None:
        self.classifier.engine.close()
        super().end()


def shared_memory(settings: VllmSettings) -> tuple[VllmSettings, VllmSettings]:
    """The generator's settings and the classifier's: they divide the memory by `value_memory`."""
    whole, part = settings.gpu_memory_utilization, settings.value_memory
    own = replace(settings, gpu_memory_utilization=whole * (1 - part))
    value = replace(settings, gpu_memory_utilization=whole * part, max_num_seqs=None, pipeline_parallel_size=1)
    return own, value
