"""What a reader finds in stored answers: computed once and kept in the cache directory, a tree a file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .engine.errors import DataError
from .engine.files import replaced_atomically
from .engine.language_model import Prompt
from .engine.models.files import cache_dir, model_identity, resolve_model
from .engine.models.loading import chosen_precision, device_kind, load_weights
from .engine.models.tokenizer_loading import load_tokenizer
from .engine.progress import stage
from .engine.torch_backend.reader import TorchReader, check_same_tokens
from .engine.tree import ROOT, Tree
from .valuemodel.packing import PromptedTree


def read_stored(trees: Sequence[PromptedTree], generator: Path, reader: str) -> None:
    """Fill `reader_logprob` on the paths of all rollouts. `generator`: the model that wrote them; `reader`: by name, folder, GGUF
    file or hub id. What was read before is taken from the cache, so that it goes on where it was stopped.

    Raises SettingsError where the two models' tokens differ, ModelError, ContextError.
    """
    path = resolve_model(reader)
    check_same_tokens(load_tokenizer(generator), load_tokenizer(path), reader)
    precision = chosen_precision("auto", device_kind(), path)
    folder = cache_dir() / "readings" / f"{model_identity(path).sha256[:16]}-{precision}"
    folder.mkdir(parents=True, exist_ok=True)
    left = [(one, file) for one in trees if not _known(one.tree, file := folder / f"{_key(one.tree)}.npy")]
    if not left:
        return
    model = TorchReader(load_weights(path, precision, packed=True))
    nodes = float(sum(len(one.tree) for one, _ in left))
    done = 0
    with stage(f"Reading {len(left)} trees with {reader}", total=nodes) as advance:
        for one, file in left:
            _read(model, one)
            with replaced_atomically(file) as temporary, temporary.open("wb") as out:
                np.save(out, one.tree.nodes.reader_logprob)
            done += len(one.tree)
            advance(float(done))


def _read(model: TorchReader, one: PromptedTree) -> None:
    session = model.begin(one.tree, Prompt(one.prompt_ids, room=int(one.tree.depth.max(initial=0))))
    leaves = np.unique(one.tree.rollouts.leaf)
    model.read([(session, leaves[leaves != ROOT])])
    model.close(session)


def _known(tree: Tree, file: Path) -> bool:
    """Whether `file` had the column, which the tree then has, too."""
    try:
        with file.open("rb") as stored:
            found: Any = np.lib.format.read_array(stored)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}; it can be deleted") from None
    if found.shape != (len(tree),):
        raise DataError(f"{file} is of another tree; it can be deleted")
    tree.nodes.reader_logprob[:] = found
    return True


def _key(tree: Tree) -> str:
    """Of the prompt, the tokens and where the rollouts end."""
    digest = hashlib.sha256(tree.prompt_hash.encode())
    for column in (tree.nodes.parent, tree.nodes.token_id, np.unique(tree.rollouts.leaf)):
        digest.update(column.tobytes())
    return digest.hexdigest()[:32]
