"""What packing saves: training a value model on packed trees against training it on one rollout a row.

    python -m guided_gen.benchmarks.studies.packing_speed --data DIR

Prints JSON; every figure is a ratio within one run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ...data_builder.dataset import read_trees
from ...engine.models.files import resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.loading import load_weights
from ...engine.tree import ROOT, Tree
from ...valuemodel.base_layers import shared_states
from ...valuemodel.examples import Batch
from ...valuemodel.heads import HeadSettings
from ...valuemodel.model import ValueModel
from ...valuemodel.packing import Pack, join_packs, pack_tree
from ...valuemodel.targets import outcomes
from ...valuemodel.training import batch_loss

_BLOCKS = 2
_PRECISION = "int8" if not torch.cuda.is_available() else "bfloat16"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="A dataset.")
@click.option("--model", default=DEFAULT_MODEL)
@click.option("--trees", default=4, help="So many of its forked trees, each a batch of its own.")
def main(data: Path, model: str, trees: int) -> None:
    """Tokens computed and wall time of one pass over the same rollouts, packed and one a row (without padding)."""
    folder = resolve_model(model)
    base = load_weights(folder, _PRECISION)
    chosen = [tree for tree in read_trees([data]) if (tree.rollouts.fork != ROOT).any()][:trees]
    prompts = [_made_up_prompt(tree.prompt_length) for tree in chosen]
    packed = [pack_tree(tree, prompt) for tree, prompt in zip(chosen, prompts, strict=True)]
    rows = [
        join_packs([pack_tree(chain, prompt) for chain in _chains(tree)]) for tree, prompt in zip(chosen, prompts, strict=True)
    ]
    tail = ValueModel.from_base(folder, base.config.num_hidden_layers - _BLOCKS, HeadSettings(("last", "mean")))
    fork = tail.settings.fork_layer
    results: dict[str, Any] = {"trees": len(chosen), "rollouts": sum(len(outcomes(tree).rows) for tree in chosen)}
    for name, packs in (("packed", packed), ("rows", rows)):
        shared = _seconds(lambda packs=packs: [shared_states(base, pack, [fork]) for pack in packs])  # type: ignore[misc]
        states = [shared_states(base, pack, [fork])[0] for pack in packs]
        steps = _seconds(lambda packs=packs, states=states: _train(tail, packs, states))  # type: ignore[misc]
        tokens = sum(len(pack) for pack in packs)
        results[name] = {"tokens": tokens, "shared_seconds": shared, "tail_seconds": steps}
    for key in ("tokens", "shared_seconds", "tail_seconds"):
        results[f"{key}_ratio"] = round(results["rows"][key] / results["packed"][key], 2)
    click.echo(json.dumps(results, indent=1))


def _made_up_prompt(tokens: int) -> list[int]:
    """Of any token ids: what a pass costs does not depend on them."""
    ids: list[int] = np.random.default_rng(0).integers(1000, 30000, tokens).tolist()
    return ids


def _chains(tree: Tree) -> list[Tree]:
    """Each judged rollout as a tree of its own."""
    chains = []
    for leaf in outcomes(tree).leaves.tolist():
        chain = Tree.below(_made_up_prompt(tree.prompt_length))
        for token in tree.tokens(leaf).tolist():
            chain.add_node(len(chain) - 1, token, logprob=-0.1)
        chains.append(chain)
    return chains


def _train(model: ValueModel, packs: Sequence[Pack], states: Sequence[torch.Tensor]) -> None:
    for pack, below in zip(packs, states, strict=True):
        ones = torch.ones(len(pack.rows))
        batch = Batch(below, pack, -ones, 0.5 * ones, ones)
        batch_loss(model(batch.states, batch.pack, batch.mean_logprob), batch).backward()  # type: ignore[no-untyped-call]
        model.zero_grad()


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
