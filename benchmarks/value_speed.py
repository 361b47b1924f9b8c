"""What values cost: training on packed trees against one sequence a row, and a search with a value model against one without.

    python -m guided_gen.benchmarks.value_speed training --data DIR
    python -m guided_gen.benchmarks.value_speed scoring

Both print JSON; every figure is a ratio within one run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import torch

from ..data_builder.dataset import read_trees
from ..engine.loading import load_transformers
from ..engine.model_files import resolve_model
from ..engine.model_sources import DEFAULT_MODEL
from ..engine.sampling import Sampling
from ..engine.search import Search, SearchSettings, advance_round
from ..engine.torch_model import TorchLanguageModel
from ..engine.tree import ROOT, Tree
from ..valuemodel.base_layers import shared_states
from ..valuemodel.examples import Batch
from ..valuemodel.heads import HeadSettings
from ..valuemodel.model import ValueModel
from ..valuemodel.packing import Pack, join_packs, pack_tree
from ..valuemodel.targets import outcomes
from ..valuemodel.training import batch_loss

if TYPE_CHECKING:
    from ..engine.tail import Tail

_BLOCKS = 2
_PRECISION = "int8" if not torch.cuda.is_available() else "bfloat16"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def command() -> None:
    """Measure what training and scoring with a value model cost."""


@command.command("training")
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="A dataset.")
@click.option("--model", default=DEFAULT_MODEL)
@click.option("--trees", default=4, help="So many of its forked trees, each a batch of its own.")
def training_command(data: Path, model: str, trees: int) -> None:
    """Tokens computed and wall time of one pass over the same rollouts, packed and one a row (without padding)."""
    folder = resolve_model(model)
    base = load_transformers(folder, _PRECISION)
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
        results[name] = {"tokens": tokens, "shared_seconds": round(shared, 2), "tail_seconds": round(steps, 2)}
    for key in ("tokens", "shared_seconds", "tail_seconds"):
        results[f"{key}_ratio"] = round(results["rows"][key] / results["packed"][key], 2)
    click.echo(json.dumps(results, indent=1))


@command.command("scoring")
@click.option("--model", default=DEFAULT_MODEL)
@click.option("--candidates", default=36)
@click.option("--prompt-tokens", default=300)
@click.option("--rounds", default=8, help="Of 16 tokens a candidate, all arms in turn.")
def scoring_command(model: str, candidates: int, prompt_tokens: int, rounds: int) -> None:
    """Wall time of the same search unscored, with a probe, and with two blocks of the value model's own."""
    folder = resolve_model(model)
    base = load_transformers(folder, _PRECISION)
    tails = {"unscored": None, "probe": untrained_tail(folder, 0), f"{_BLOCKS} blocks": untrained_tail(folder, _BLOCKS)}
    models = {name: TorchLanguageModel(base, tail) for name, tail in tails.items()}
    prompt = _made_up_prompt(prompt_tokens)
    settings = SearchSettings(n=candidates, max_new_tokens=16 * (rounds + 1), sampling=Sampling(1.0, 0.95), check_every=16)
    searches = {name: Search(one, prompt, settings) for name, one in models.items()}
    seconds = dict.fromkeys(models, 0.0)
    for turn in range(rounds + 1):
        for name, one in models.items():
            start = time.perf_counter()
            for _ in range(16):
                advance_round(one, [searches[name]])
            if turn:  # the first is for warming up
                seconds[name] += time.perf_counter() - start
    more = {name: round(seconds[name] / seconds["unscored"] - 1, 4) for name in models}
    tokens = {name: round(candidates * 16 * rounds / seconds[name], 1) for name in models}
    click.echo(json.dumps({"candidates": candidates, "more_wall_time": more, "tokens_per_second": tokens}, indent=1))


def untrained_tail(folder: Path, blocks: int) -> Tail:
    """A tail of so many blocks on top of the model in `folder`: what a value costs does not depend on what it says."""
    config = json.loads((folder / "config.json").read_text())
    head = HeadSettings(("last", "mean", "logprob"))
    model = ValueModel.from_base(folder, config["num_hidden_layers"] - blocks, head)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.engine_tail(torch.bfloat16 if device == "cuda" else torch.float32, device)


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
    command()
