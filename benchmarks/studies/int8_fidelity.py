"""How close is int8 to float32 of the same weights? KL and top-1 agreement on the model's own greedy answers.

    python -m guided_gen.benchmarks.studies.int8_fidelity --problems 200 int8

Answers to introductory APPS train problems are decoded greedily (in int8, the fastest); then float32 and each variant read prompt
and answer, and are compared at every token of the answer. docs/int8.md reports the results.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import nn

from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.prompts import prompt_ids
from ...engine.language_model import Prompt
from ...engine.models.files import resolve_model
from ...engine.models.float_models import float_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.loading import load_cpu_model, load_model
from ...engine.sampling import Sampling
from ...engine.search import Search, SearchSettings, run
from ...valuemodel.base_layers import last_states

_MOST_PROMPT_TOKENS = 600
_MOST_ANSWER_TOKENS = 256
_ANSWERS_AT_ONCE = 20


VARIANTS: dict[str, Callable[[Path], Any]] = {
    "int8": load_cpu_model,
    "bfloat16": lambda path: float_model(path, torch.bfloat16),
}


@dataclass(frozen=True)
class Reading:
    """A prompt and its greedy answer, as token ids, and float32's states [answer tokens, H] that predict the answer."""

    prompt: list[int]
    answer: list[int]
    states: torch.Tensor


@dataclass(frozen=True)
class Fidelity:
    """Over all tokens of all answers; `kl_error` is the standard error over answers."""

    tokens: int
    kl: float
    kl_error: float
    kl_99: float
    top1: float


def read(model: str, reference: Any, count: int, seed: int, kept: list[Reading]) -> Iterator[list[Reading]]:
    """Readings of the first `count` problems, those in `kept` included: yields all so far, some more each time."""
    loaded = load_model(model, "int8")
    problems = [problem for problem in load_problems("apps", "train") if problem.difficulty == "introductory"]
    random.Random(seed).shuffle(problems)
    prompts = [ids for ids in (prompt_ids(loaded.tokenizer, problem) for problem in problems) if len(ids) <= _MOST_PROMPT_TOKENS]
    settings = SearchSettings(n=1, max_new_tokens=_MOST_ANSWER_TOKENS, sampling=Sampling(temperature=0), stop_ids=loaded.stop_ids)
    readings = list(kept)
    while len(readings) < count:
        batch = prompts[len(readings) : min(len(readings) + _ANSWERS_AT_ONCE, count)]
        searches = [Search(loaded.language_model, Prompt(prompt), settings) for prompt in batch]
        run(loaded.language_model, searches)
        for prompt, search in zip(batch, searches, strict=True):
            answer = search.tree.tokens(int(search.tree.rollouts.leaf[0])).tolist()
            readings.append(Reading(prompt, answer, states(reference, prompt, answer)))
            loaded.language_model.close(search.session)
        yield readings


@torch.inference_mode()
def states(model: Any, prompt: list[int], answer: list[int]) -> torch.Tensor:
    """The states below the LM head [answer tokens, H] from which a model predicts the answer."""
    [read] = last_states(model, [prompt + answer[:-1]])
    return read[len(prompt) - 1 :].clone()


@torch.inference_mode()
def fidelity(model: Any, head: nn.Module, readings: Sequence[Reading]) -> Fidelity:
    """`model` against float32, whose LM head is `head`."""
    divergences, agreements = [], []
    for reading in readings:
        exact = torch.log_softmax(head(reading.states), -1)
        near = torch.log_softmax(model.lm_head(states(model, reading.prompt, reading.answer)).float(), -1)
        divergences.append((exact.exp() * (exact - near)).sum(-1).numpy())
        agreements.append((exact.argmax(-1) == near.argmax(-1)).numpy())
    every = np.concatenate(divergences)
    sums = np.array([own.sum() - every.mean() * len(own) for own in divergences])
    error = float(np.sqrt((sums**2).sum()) / len(every))
    kl_99 = float(np.quantile(every, 0.99))
    return Fidelity(len(every), float(every.mean()), error, kl_99, float(np.concatenate(agreements).mean()))


@click.command()
@click.argument("variants", nargs=-1)
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--problems", default=200, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which problems.")
@click.option(
    "--readings", type=click.Path(path_type=Path), help="Keep the answers and float32's states here, for more variants."
)
def main(variants: tuple[str, ...], model: str, problems: int, seed: int, readings: Path | None) -> None:
    """Compare VARIANTS (by default all) with float32."""
    unknown = set(variants) - set(VARIANTS)
    if unknown:
        raise click.UsageError(f"there is no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    path = resolve_model(model)
    reference = float_model(path, torch.float32)
    stored: list[Reading] = []
    if readings is not None and readings.exists():
        stored = [Reading(**fields) for fields in torch.load(readings)]
    if len(stored) < problems:
        for more in read(model, reference, problems, seed, stored):
            stored = more
            click.echo(f"{len(stored)} of {problems} answered", err=True)
            if readings is not None:
                torch.save([vars(reading) for reading in stored], readings)
    head = reference.lm_head
    del reference
    for name in variants or VARIANTS:
        gc.collect()
        result = fidelity(VARIANTS[name](path), head, stored[:problems])
        click.echo(
            f"{name:<50} KL {result.kl:.4f} +- {result.kl_error:.4f}  99% {result.kl_99:.3f}  top-1 {result.top1:.4f}"
            f"  ({result.tokens} tokens)"
        )


if __name__ == "__main__":
    main()
