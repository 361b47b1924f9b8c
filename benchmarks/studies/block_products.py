"""How fast matrices in GGUF's blocks multiply, by type, rows and instructions:

    python -m guided_gen.benchmarks.studies.block_products --threads 2

prints multiplications a second and bytes of blocks read a second, each of the best of some runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import numpy as np
import torch

from ...engine.cpu import kernels
from ...engine.cpu.blocks import BlockMatrix, BlockType, bytes_of_row
from .decoding_contenders import INSTRUCTIONS

# Outputs and inputs: the gate and up, the down and the LM head of the known models.
SHAPES = {
    "1.5b gate and up": (17920, 1536, BlockType.Q4_K),
    "1.5b down": (1536, 8960, BlockType.Q6_K),
    "1.5b head": (151936, 1536, BlockType.Q6_K),
    "0.5b gate and up": (9728, 896, BlockType.Q5_0),
    "0.5b head": (151936, 896, BlockType.Q8_0),
}


def best(call: Callable[[], object], seconds: float) -> float:
    """The shortest of the runs that fit into so many seconds, three at least."""
    took: list[float] = []
    while len(took) < 3 or sum(took) < seconds:
        start = time.perf_counter()
        call()
        took.append(time.perf_counter() - start)
    return min(took)


@click.command()
@click.option("--threads", default=torch.get_num_threads(), show_default=True)
@click.option("--rows", "row_counts", multiple=True, default=(1, 8, 36, 300), show_default=True, type=int)
@click.option("--seconds", default=0.5, show_default=True, help="For each figure.")
def main(threads: int, row_counts: tuple[int, ...], seconds: float) -> None:
    """Time the products."""
    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    for name, (outputs, inputs, kind) in SHAPES.items():
        matrix = BlockMatrix(outputs, inputs, kind)
        matrix.fill(0, rng.integers(0, 100, (outputs, bytes_of_row(kind, inputs)), dtype=np.uint8))
        for rows in row_counts:
            x = torch.randn(rows, inputs)
            for instructions, level in INSTRUCTIONS.items():
                if level in kernels.levels():
                    kernels.use(level)
                    took = best(lambda matrix=matrix, x=x: matrix.times(x), seconds)  # type: ignore[misc]
                    click.echo(
                        f"{name:18} {kind.name:5} {rows:4} rows  {instructions:9} {rows * outputs * inputs / took / 1e9:7.1f} G/s"
                        f"  {matrix.nbytes / took / 1e9:6.1f} GB/s"
                    )


if __name__ == "__main__":
    main()
