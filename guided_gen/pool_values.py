"""The values of a pool's stored trees, for replays: computed once, kept beside the results, never written into the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .data_builder.dataset import ProblemTexts
from .data_builder.problems.prompts import prompt_ids, template_named
from .data_builder.tree_folder import read_settings, tree_files
from .engine.errors import GuidedGenError
from .engine.models.tokenizer_loading import load_tokenizer
from .engine.tree import Tree
from .engine.tree_files import load_trees, save_trees
from .valuemodel.examples import make_examples
from .valuemodel.fitting import base_states
from .valuemodel.model import ValueModel
from .valuemodel.packing import PromptedTree
from .valuemodel.rollout_table import score_trees


class NotScorable(GuidedGenError):
    """A value model that cannot score a stored pool."""


def pool_trees(folders: Sequence[Path], kept: Path | None, value_sha256: str | None) -> Iterator[Tree]:
    """All trees of the pools: as stored, or, with a value model, those of `score_pools`."""
    for folder in folders:
        for path in tree_files(folder):
            if value_sha256 is None or kept is None:
                yield from load_trees(path)
            else:
                yield from load_trees(_scored_file(kept, value_sha256, path))


def score_pools(
    folders: Sequence[Path],
    value: Path,
    value_sha256: str,
    base: Path,
    kept: Path,
    texts: ProblemTexts,
    cache: Path | None = None,
) -> None:
    """Write to `kept` a copy of each file of the pools with the values of every node, where there is none yet.

    `base` is the folder of the model that the pools are from and the value model was made for; `cache` is where its states are
    kept. Raises ValueModelMismatch, and NotScorable for a value model that reads another tokenizer's text.
    """
    missing = [(folder, path) for folder in folders for path in tree_files(folder)]
    missing = [(folder, path) for folder, path in missing if not _scored_file(kept, value_sha256, path).exists()]
    if not missing:
        return
    made_for = ValueModel.made_for(value)
    if made_for.generator_sha256:
        raise NotScorable("a value model that reads text scores searches, not stored pools: use guided-gen bench run")
    tokenizer: Any = load_tokenizer(base)
    files: list[tuple[Path, list[PromptedTree]]] = []
    for folder, path in missing:
        settings = read_settings(folder)
        made_for.check(settings)
        template = template_named(settings["template"])
        trees = load_trees(path)
        prompts = [tuple(prompt_ids(tokenizer, texts.problem(tree), template)) for tree in trees]
        prompted = [PromptedTree(tree, ids, tree.metadata["problem"]) for tree, ids in zip(trees, prompts, strict=True)]
        files.append((path, prompted))
    model = ValueModel.from_pretrained(value, base)
    fork_layer = model.settings.fork_layer
    everything = [one for _, prompted in files for one in prompted]
    states = base_states(make_examples(everything), base, made_for, [fork_layer], cache)[fork_layer]
    for path, prompted in files:
        for one, values in zip(prompted, score_trees(model, prompted, states), strict=True):
            one.tree.nodes.value[:] = values
        save_trees([one.tree for one in prompted], _scored_file(kept, value_sha256, path))


def _scored_file(kept: Path, value_sha256: str, path: Path) -> Path:
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return kept / f"{value_sha256[:16]}-{content[:16]}.parquet"
