"""The tokenizer of a model's files, and which tokens end its answers.

What a GGUF file holds is converted once and kept in the cache directory, by the file's hash: reading 150,000 tokens and as many
merges from the GGUF takes longer than a prompt.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .files import cache_dir, model_identity
from .gguf_file import GgufFile
from .gguf_tokenizer import tokenizer_of_gguf
from .tokenizer import SETTINGS, Tokenizer

CONVERSION = 1
"""Part of every kept tokenizer's name: raise it when the same GGUF would give another one."""

END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|end|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""What ends an answer in the families that we support. A GGUF names only one, but models emit the others too."""


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a model folder or a GGUF. Raises ModelError."""
    return _of_gguf(path) if path.is_file() else _of_folder(path)


def end_ids(path: Path, tokenizer: Tokenizer) -> frozenset[int]:
    """Token ids that end an answer: those of the model's generation settings and the well-known ends of turns."""
    ends = {tokenizer.eos_token_id}
    if not path.is_file():
        generation = _json(path / "generation_config.json")
        named = generation.get("eos_token_id", _json(path / "config.json").get("eos_token_id"))
        ends |= {i for i in (named if isinstance(named, list) else [named]) if isinstance(i, int)}
    vocabulary = tokenizer.get_added_vocab()
    ends |= {vocabulary[token] for token in END_TOKENS if token in vocabulary}
    return frozenset(end for end in ends if end is not None)


def line_end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids of all tokens whose text holds a line break."""
    ids = range(len(tokenizer))
    return frozenset(i for i, text in zip(ids, tokenizer.batch_decode([[i] for i in ids]), strict=True) if "\n" in text)


def _of_gguf(path: Path) -> Tokenizer:
    folder = cache_dir() / "tokenizers" / f"{model_identity(path).sha256[:16]}-v{CONVERSION}"
    if (folder / SETTINGS).is_file():  # written last
        with suppress(ModelError):  # a disk can lose what was written: convert again
            return Tokenizer.load(folder)
    with GgufFile(path) as file:
        tokenizer = tokenizer_of_gguf(file)
    with suppress(OSError):  # only costs time the next time
        tokenizer.save(folder)
    return tokenizer


def _of_folder(path: Path) -> Tokenizer:
    quieten_transformers()
    from transformers import AutoTokenizer

    try:
        found: Any = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        backend = found.backend_tokenizer
    except Exception as error:  # transformers raises whatever a malformed file trips over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"the tokenizer in {path} cannot be loaded: {reason}") from error
    if not backend.encode("a", add_special_tokens=False).ids:  # what transformers makes of a missing file
        raise ModelError(f"{path} holds no tokenizer, or one without tokens for texts")
    template = found.chat_template
    if isinstance(template, dict):
        template = template.get("default")
    return Tokenizer(
        backend, {name: str(text) for name, text in found.special_tokens_map.items() if isinstance(text, str)}, template
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def quieten_transformers() -> None:
    """Its progress bars and hints would mix with ours; a user's own setting wins."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import transformers

    logging: Any = transformers.utils.logging
    if os.environ["TRANSFORMERS_VERBOSITY"] == "error":
        logging.set_verbosity_error()
        logging.disable_progress_bar()
