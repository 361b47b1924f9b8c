"""How much of what a pooling scorer is sent at each check vLLM finds in its prefix cache, and how much it could find.

    .venv-vllm/bin/python -m guided_gen.benchmarks.studies.vllm_cache_hits [--check-every 32] [--block-size 32] ...

A random classifier of the default model's shape in miniature is sent what a search sends it: at each check the whole of every
live candidate (prompts of one length; at each check half of the candidates are dropped and their places taken by forks of the
others). The rate depends on lengths and blocks alone, not on weights. The ceiling is what a cache without limits would find:
of each sequence the full blocks that were sent before, but never its last token.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...engine.vllm_backend.pooling import Classifier
from ...engine.vllm_backend.settings import VllmSettings

VOCABULARY = 1000
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "num_labels": 1,
}


@dataclass(frozen=True)
class Load:
    """What is sent: `problems` prompts of `prompt` tokens with `candidates` each, checked every `check_every` of `tokens`."""

    problems: int
    candidates: int
    prompt: int
    tokens: int
    check_every: int
    seed: int = 0

    def checks(self) -> list[list[list[int]]]:
        """For each check the sequences that are scored at it."""
        rng = np.random.default_rng(self.seed)
        prompts = [rng.integers(1, VOCABULARY, self.prompt).tolist() for _ in range(self.problems)]
        live = [prompt for prompt in prompts for _ in range(self.candidates)]
        checks = []
        for _ in range(self.tokens // self.check_every):
            live = [sequence + rng.integers(1, VOCABULARY, self.check_every).tolist() for sequence in live]
            checks.append(live)
            kept = [live[i] for i in rng.permutation(len(live))[: max(len(live) // 2, 1)]]
            live = [kept[i % len(kept)] for i in range(len(live))]
        return checks


def ceiling(checks: list[list[list[int]]], block_size: int) -> int:
    """Tokens that a cache without limits finds."""
    sent: set[tuple[int, ...]] = set()
    found = 0
    for check in checks:
        for sequence in check:
            blocks = [tuple(sequence[: end * block_size]) for end in range(1, len(sequence) // block_size + 1)]
            usable = blocks[: (len(sequence) - 1) // block_size]
            found += block_size * next((i for i, block in enumerate(usable) if block not in sent), len(usable))
            sent.update(blocks)
    return found


def measured(folder: Path, checks: list[list[list[int]]], block_size: int) -> dict[str, int]:
    """Tokens sent to the classifier in `folder`, and found in its cache."""
    classifier = Classifier(
        folder, "float32", VllmSettings(enforce_eager=True, block_size=block_size, kv_cache_memory_bytes=1 << 29)
    )

    async def send() -> None:
        for check in checks:
            await asyncio.gather(*(classifier.labels(sequence) for sequence in check))
        await asyncio.sleep(0.5)  # the counts follow the answers

    try:
        classifier.engine.run(send())
        counts = classifier.engine.counts
        return {"sent": sum(len(sequence) for check in checks for sequence in check), "found": counts.found}
    finally:
        classifier.engine.close()


def _write_classifier(folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config: Any = AutoConfig.for_model("qwen2", **SHAPE)
    config.guided_gen_value = {"terms": ["mean"], "bias": 0.0, "logprob_weight": 0.0, "scale": 1.0, "shift": 0.0}
    model: Any = AutoModelForSequenceClassification.from_config(config)  # type: ignore[no-untyped-call]
    model.save_pretrained(folder)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--problems", default=4)
@click.option("--candidates", default=8)
@click.option("--prompt", default=300, help="Tokens.")
@click.option("--tokens", default=256, help="Tokens of an answer.")
@click.option("--check-every", default=32)
@click.option("--block-size", default=32)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the figures to this JSON file.")
def main(problems: int, candidates: int, prompt: int, tokens: int, check_every: int, block_size: int, out: Path | None) -> None:
    """Print the hit rate and the ceiling."""
    checks = Load(problems, candidates, prompt, tokens, check_every).checks()
    most = ceiling(checks, block_size)
    with tempfile.TemporaryDirectory() as temporary:
        _write_classifier(Path(temporary))
        found = measured(Path(temporary), checks, block_size)
    sent, hits = found["sent"], found["found"]
    click.echo(f"{sent} tokens sent, {hits} found in the cache, {sent - hits} computed")
    click.echo(f"hit rate {hits / sent:.1%}, ceiling {most / sent:.1%}: {hits / most:.1%} of the ceiling")
    if out is not None:
        out.write_text(json.dumps(found | {"ceiling": most}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
