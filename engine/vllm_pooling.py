"""The baseline for values with vLLM: an exported value model (a stock `*ForSequenceClassification`) in an engine of its own.

At each check the new text of every candidate is sent to it. A head that reads the last token only is asked through `classify`,
which finds all but the new tokens in the prefix cache. A head with a running mean needs every token's number, which only
`token_classify` gives, and that never reads the prefix cache: it computes whole sequences at every check. A value model in the
generator's own pass (vllm_forked.py) costs neither.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from .language_model import Session as AnySession
from .tree import ROOT
from .vllm_engine import VllmEngine
from .vllm_model import VllmLanguageModel, VllmSession
from .vllm_settings import VllmError, VllmSettings

_numbers = itertools.count()


@dataclass(frozen=True)
class ValueFormula:
    """How a classifier's labels make a value (see `valuemodel.export`): sigmoid(scale * (terms + ... + bias) + shift)."""

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
    def reads_mean(self) -> bool:
        return "mean" in self.terms

    def values(self, labels: np.ndarray, mean_logprob: np.ndarray) -> np.ndarray:
        """labels [T, labels] and mean_logprob [T] at an answer's tokens from its first on -> values [T].

        Without a mean among the terms any tokens will do.
        """
        means = np.cumsum(labels, axis=0) / np.arange(1, len(labels) + 1)[:, None]
        columns = [labels[:, i] if term == "last" else means[:, i] for i, term in enumerate(self.terms)]
        logit = np.sum(columns, axis=0) + self.logprob_weight * mean_logprob + self.bias
        found: np.ndarray = 1 / (1 + np.exp(-(self.scale * logit + self.shift)))
        return found


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
            raise VllmError(f"{folder} is no exported value model; guided-gen export makes one")
        self.formula = formula
        arguments = settings.engine_arguments() | {
            "model": str(folder),
            "dtype": precision,
            "runner": "pooling",
            "skip_tokenizer_init": True,
            "enable_prefix_caching": True,
        }
        self.engine = VllmEngine(arguments, settings.patience)

    async def labels(self, token_ids: Sequence[int]) -> np.ndarray:
        """[T, labels] of all tokens where the formula needs them, else [1, labels] of the last."""
        from vllm import PoolingParams

        task = "token_classify" if self.formula.reads_mean else "classify"
        parameters = PoolingParams(task=task, use_activation=False)
        prompt = {"prompt_token_ids": list(token_ids)}
        try:
            async for output in self.engine.llm.encode(prompt, parameters, f"guided-gen-value-{next(_numbers)}"):
                found: np.ndarray = output.outputs.data.float().numpy().astype(np.float64)
        except Exception as error:
            raise self.engine.failure(error) from error
        return found.reshape(-1, len(self.formula.terms))


class PooledLanguageModel(VllmLanguageModel):
    """A generator whose values a `Classifier` gives. A head on the last token alone leaves the values above the leaves unset."""

    def __init__(self, engine: VllmEngine, classifier: Classifier) -> None:
        super().__init__(engine)
        self.classifier = classifier
        self.scores = True
        self.max_length = min(self.max_length, classifier.engine.llm.model_config.max_model_len)

    def read_values(self, wanted: Sequence[tuple[AnySession, np.ndarray]]) -> None:
        unscored = [
            (cast(VllmSession, session), node)
            for session, nodes in wanted
            for node in np.unique(nodes).tolist()
            if node != ROOT and np.isnan(session.tree.nodes.value[node])
        ]
        found = self.classifier.engine.run(self._labels(unscored))
        for (session, node), labels in zip(unscored, found, strict=True):
            tree = session.tree
            path = tree.path(node) if self.classifier.formula.reads_mean else np.asarray([node])
            mean_logprob = np.asarray([tree.logprob_sum_to(n) / tree.depth_of(n) for n in path.tolist()])
            tree.nodes.value[path] = self.classifier.formula.values(labels[-len(path) :], mean_logprob)

    async def _labels(self, nodes: list[tuple[VllmSession, int]]) -> list[np.ndarray]:
        whole = [session.prompt_ids + session.tree.tokens(node).tolist() for session, node in nodes]
        return list(await asyncio.gather(*(self.classifier.labels(token_ids) for token_ids in whole)))

    def end(self) -> None:
        self.classifier.engine.close()
        super().end()


def shared_memory(settings: VllmSettings) -> tuple[VllmSettings, VllmSettings]:
    """The generator's settings and the classifier's: they divide the memory by `value_memory`."""
    whole, part = settings.gpu_memory_utilization, settings.value_memory
    own = replace(settings, gpu_memory_utilization=whole * (1 - part))
    value = replace(settings, gpu_memory_utilization=whole * part, max_num_seqs=None, pipeline_parallel_size=1)
    return own, value
