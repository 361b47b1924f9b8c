"""How close is int8 to float32, and why? KL and top-1 agreement on the model's own greedy answers, and what each choice costs.

    python -m guided_gen.benchmarks.studies.int8_fidelity --problems 200 int8
    python -m guided_gen.benchmarks.studies.int8_fidelity --problems 12 int8 w8a8 w8a7 "torch dynamic"

Answers to introductory APPS train problems are decoded greedily (in int8, the fastest); then float32 and each variant read prompt
and answer, and are compared at every token of the answer. `int8` is the path that is shipped; the others
are built here, of integers in float32 products, to tell its choices apart. docs/int8.md reports the results.
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
from ...engine.cpu.int8 import quantize_rows
from ...engine.cpu.int8_model import Int8Model
from ...engine.language_model import Prompt
from ...engine.models.files import resolve_model
from ...engine.models.loading import load_model
from ...engine.models.sources import DEFAULT_MODEL
from ...engine.sampling import Sampling
from ...engine.search import Search, SearchSettings, run
from ...valuemodel.base_layers import last_states

_MOST_PROMPT_TOKENS = 600
_MOST_ANSWER_TOKENS = 256
_ANSWERS_AT_ONCE = 20


@dataclass(frozen=True)
class Scheme:
    """How a studied model multiplies. Levels are the largest integers on either side of zero: 127 for 8 bits, 63 or 64 for 7.

    `second_term` and `in_float` name projections (q_proj, ..., down_proj, lm_head): the first take what rounding left as a second
    integer with 1 / 254 of the step, the second stay in float32.
    """

    weight_levels: int = 64
    activation_levels: int = 127
    weights_per_tensor: bool = False
    activations_per_tensor: bool = False
    second_term: tuple[str, ...] = ()
    in_float: tuple[str, ...] = ()


class StudyLinear(nn.Module):
    """A linear layer under a scheme."""

    def __init__(self, linear: nn.Linear, scheme: Scheme, second_term: bool) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight, scheme.weight_levels)
        if scheme.weights_per_tensor:
            step = scale.max()
            weight = (linear.weight.detach() / step).round().to(torch.int8)
            scale = step.expand(len(scale)).clone()
        self._matrix = weight.float() * scale[:, None]
        self._bias = linear.bias
        self._scheme = scheme
        self._second_term = second_term

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.flatten(0, -2)
        largest = rows.abs().amax() if self._scheme.activations_per_tensor else rows.abs().amax(dim=1, keepdim=True)
        scale = largest.clamp(min=1e-30) / self._scheme.activation_levels
        steps = rows / scale
        levels = steps.round()
        if self._second_term:
            levels += ((steps - levels) * 254).round() / 254
        out = levels @ self._matrix.T
        out = out * scale if self._bias is None else out * scale + self._bias
        return out.view(*x.shape[:-1], -1)


def studied(scheme: Scheme) -> Callable[[Path], Any]:
    """Builds a model whose linear layers follow `scheme`; all else stays in float32."""

    def build(folder: Path) -> Any:
        model = float_model(folder)
        for name, linear in [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]:
            projection = name.rpartition(".")[2]
            if projection not in scheme.in_float:
                replacement = StudyLinear(linear, scheme, projection in scheme.second_term)
                model.get_submodule(name.rpartition(".")[0]).register_module(projection, replacement)
        return model

    return build


def float_model(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' model as it is."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    return model.eval()


def torch_dynamic(in_float: tuple[str, ...] = ()) -> Callable[[Path], Any]:
    """torch's own dynamic quantisation with its defaults: 7-bit activations and weights both with one scale a tensor."""

    def build(folder: Path) -> Any:
        model = float_model(folder)
        names = {n for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.rpartition(".")[2] not in in_float}
        return torch.ao.quantization.quantize_dynamic(model, names, dtype=torch.qint8)  # type: ignore[no-untyped-call]

    return build


_ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
VARIANTS: dict[str, Callable[[Path], Any]] = {
    "int8": Int8Model,
    "bfloat16": lambda folder: float_model(folder, torch.bfloat16),
    "w8a8": studied(Scheme(weight_levels=127)),  # saturates without VNNI
    "w8a7": studied(Scheme(weight_levels=127, activation_levels=63)),
    "w7a8": studied(Scheme()),
    "w7a8 down_proj two terms": studied(Scheme(second_term=("down_proj",))),
    "w7a8 all two terms": studied(Scheme(second_term=_ALL)),
    "w8a8 per-tensor activations": studied(Scheme(weight_levels=127, activations_per_tensor=True)),
    "w8a8 per-tensor activations, down_proj in float32": studied(
        Scheme(weight_levels=127, activations_per_tensor=True, in_float=("down_proj",))
    ),
    "w8a7 per-tensor activations": studied(Scheme(weight_levels=127, activation_levels=63, activations_per_tensor=True)),
    "w8a8 per-tensor weights": studied(Scheme(weight_levels=127, weights_per_tensor=True)),
    "torch dynamic": torch_dynamic(),
    "torch dynamic, down_proj in float32": torch_dynamic(in_float=("down_proj",)),
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
    folder = resolve_model(model)
    reference = float_model(folder)
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
        result = fidelity(VARIANTS[name](folder), head, stored[:problems])
        click.echo(
            f"{name:<50} KL {result.kl:.4f} +- {result.kl_error:.4f}  99% {result.kl_99:.3f}  top-1 {result.top1:.4f}"
            f"  ({result.tokens} tokens)"
        )


if __name__ == "__main__":
    main()
