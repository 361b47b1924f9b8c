"""Where a decode step's time goes, and how near its matrix products come to what this machine can do:

    python -m guided_gen.benchmarks.studies.decode_profile --candidates 36

On a CPU every call returns when its work is done, so that a clock around each part tells its own time; what is left over is
Python's: the tree, the slots and the loop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import click
import numpy as np
import torch

from ...engine.cpu import kernels
from ...engine.cpu.block_linear import BlockLinear
from ...engine.cpu.blocks import BlockMatrix, BlockType, quantize_to_q8_0
from ...engine.cpu.layer_kernel import LayerKernel
from ...engine.cpu.packed_linear import PackedLinear
from ...engine.language_model import Growth, Prompt
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.loading import load_model
from ...engine.torch_backend import model as torch_model
from ...engine.torch_backend.kv_cache import DecodeLayout
from .decoding_contenders import INSTRUCTIONS, PROMPT, SAMPLING, unlike_leaves

PRODUCTS, ATTENTION, SAMPLING_PART = "matrix products, norms, gates", "attention and cache", "sampling"
OTHER, PYTHON = "between these", "Python: tree, slots, drawing"


class Clock:
    """Seconds by part; a part inside another is taken off the outer one."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - start
                self.seconds[part] += took - self._inner.pop()
                self._inner[-1] += took

        return call


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """The engine with a clock around each of its parts."""
    places: list[tuple[Any, str, str]] = [
        (BlockLinear, "forward", PRODUCTS),
        (LayerKernel, "before_attention", PRODUCTS),
        (LayerKernel, "after_attention", PRODUCTS),
        (PackedLinear, "forward", PRODUCTS),
        (DecodeLayout, "attend", ATTENTION),
        (torch_model, "distributions", SAMPLING_PART),
        (torch_model.TorchLanguageModel, "_run", OTHER),
    ]
    patches = [mock.patch.object(owner, name, clock.timed(part, getattr(owner, name))) for owner, name, part in places]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def peak_products(precision: str) -> float:
    """Multiplications and additions a second of a large product, the best of some."""
    size = 2048
    matrix = torch.randn(size, size)
    rows = torch.randn(size, size)
    if precision == "int8":
        blocks = BlockMatrix(size, size, BlockType.Q8_0)
        blocks.fill(0, quantize_to_q8_0(matrix))
        layer: Any = BlockLinear([blocks])
    else:
        layer = PackedLinear(matrix, None)
    return float(2 * size**3 / min(_seconds(lambda: layer(rows)) for _ in range(20)))


def bandwidth() -> float:
    """Bytes a second that a sum over much more than the caches reads, the best of some."""
    numbers = torch.ones(1 << 28, dtype=torch.float32)
    return float(4 * len(numbers) / min(_seconds(numbers.sum) for _ in range(5)))


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@click.command()
@click.option("--candidates", default=36, show_default=True)
@click.option("--prompt-tokens", default=300, show_default=True)
@click.option("--new-tokens", default=128, show_default=True)
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--instructions", type=click.Choice(INSTRUCTIONS), help="Of the kernels; by default the best there are.")
def main(candidates: int, prompt_tokens: int, new_tokens: int, model: str, precision: str, instructions: str | None) -> None:
    """Print the shares of a decode step."""
    if instructions:
        if INSTRUCTIONS[instructions] not in kernels.levels():
            raise click.ClickException(f"this machine has no {instructions}")
        kernels.use(INSTRUCTIONS[instructions])
    loaded = load_model(model, precision)
    decoding = loaded.language_model
    prompt = loaded.tokenizer(PROMPT)["input_ids"][:prompt_tokens]
    session = decoding.open(Prompt(prompt), SAMPLING, seed=0)
    leaves, streams = unlike_leaves(session.tree, candidates), np.arange(candidates)
    clock = Clock()

    def decode(steps: int) -> None:
        nonlocal leaves
        for _ in range(steps):
            [leaves] = decoding.advance([Growth(session, leaves, streams, 1)])

    decode(4)  # the first products of each shape pick their kernels
    nodes = len(session.tree)
    with watched(clock):
        total = _seconds(lambda: decode(new_tokens))
    rows = len(session.tree) - nodes
    click.echo(f"{total / new_tokens * 1e3:.1f} ms a step of {rows / new_tokens:.1f} rows, {rows / total:.0f} tokens a second")
    for part, seconds in [
        *sorted(clock.seconds.items(), key=lambda item: -item[1]),
        (PYTHON, total - sum(clock.seconds.values())),
    ]:
        click.echo(f"{part:32} {seconds / total:6.1%}  {seconds / new_tokens * 1e3:6.2f} ms")
    weights = _multiplied_weights(loaded)
    rate = 2 * weights * rows / clock.seconds[PRODUCTS]
    click.echo(
        f"matrix products: {rate / 1e12:.2f} of {peak_products(loaded.precision) / 1e12:.2f} T operations a second at best;"
    )
    read = (_bytes_of_blocks(decoding) or 4 * weights) * new_tokens / clock.seconds[PRODUCTS]
    click.echo(f"weights read at {read / 1e9:.1f} of {bandwidth() / 1e9:.1f} GB a second")


def _bytes_of_blocks(model: Any) -> int:
    linears = [module for module in model._model.modules() if isinstance(module, BlockLinear)]
    return sum(matrix.nbytes for linear in linears for matrix, _ in linear.parts)


def _multiplied_weights(loaded: Any) -> int:
    config = loaded.language_model._model.config
    head = config.hidden_size // config.num_attention_heads
    attention = config.hidden_size * head * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    return int(config.num_hidden_layers * layer + config.hidden_size * config.vocab_size)


if __name__ == "__main__":
    main()
