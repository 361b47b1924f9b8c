"""Five hundred broken copies of a GGUF: each is a clear error or a model that works. Nothing crashes, hangs or takes memory."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from guided_gen.engine.cpu.model import cpu_supported
from guided_gen.engine.errors import GuidedGenError
from guided_gen.engine.language_model import Growth, Prompt
from guided_gen.engine.models.gguf_file import GgufFile
from guided_gen.engine.models.loading import load_cpu_model
from guided_gen.engine.models.tokenizer_loading import end_ids, load_tokenizer
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.torch_backend.model import TorchLanguageModel

COPIES = 500
pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.skipif(not cpu_supported(), reason="this machine has no kernels"),
]
NUMBERS = [0, 1, 2, 7, 31, 32, 33, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]


def mutated(content: bytes, header: int, rng: random.Random) -> bytes:
    """One to three changes: bits, bytes, numbers of 4 or 8 bytes anywhere in the header, a cut, a piece moved, weights."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        kind, at = rng.randrange(7), rng.randrange(header)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            changed[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS) & 0xFFFFFFFF)
        elif kind == 3:
            changed[at : at + 8] = struct.pack("<Q", rng.choice(NUMBERS))
        elif kind == 4:
            changed = changed[: rng.randrange(len(changed))]
            changed += bytes(max(header - len(changed), 0) if rng.random() < 0.5 else 0)
        elif kind == 5:
            length = rng.randrange(64)
            changed[at : at + length] = changed[(start := rng.randrange(header)) : start + length]
        else:
            at = rng.randrange(len(changed))
            changed[at : at + 8] = rng.randbytes(8)
        if len(changed) < header:
            break
    return bytes(changed)


def use(path: Path) -> None:
    """All that `solve` does with a file: read it, tokenize, decode some tokens."""
    model = TorchLanguageModel(load_cpu_model(path))
    tokenizer = load_tokenizer(path)
    end_ids(path, tokenizer)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "def"}], add_generation_prompt=True) or [1]
    session = model.open(Prompt([i % model.vocabulary_size for i in ids]), Sampling(), 0)
    leaves = np.zeros(2, np.int64) - 1
    for _ in range(2):
        [leaves] = model.advance([Growth(session, leaves, np.arange(2), 1)])
    assert np.isfinite(session.tree.nodes.logprob).all()


def test_every_broken_copy_is_an_error_or_a_model(tiny_gguf: Path, tmp_path: Path) -> None:
    content = tiny_gguf.read_bytes()
    with GgufFile(tiny_gguf) as file:
        header = min(tensor.offset for tensor in file.tensors.values())
    rng, path, worked = random.Random(0), tmp_path / "copy.gguf", 0
    for copy in range(COPIES):
        path.write_bytes(mutated(content, header, rng))
        try:
            use(path)
            worked += 1
        except GuidedGenError as error:
            assert "\n" not in str(error), copy
    assert 0 < worked < COPIES
