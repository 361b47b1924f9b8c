"""A tiny GGUF model, and a cache directory of the test's own without any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from huggingface_hub import constants

HIDDEN, HEADS, KV_HEADS, FEED_FORWARD, LAYERS = 64, 4, 2, 96, 2
CHAT_TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
NORMS_AND_BIASES = {
    "attn_norm.weight": HIDDEN,
    "ffn_norm.weight": HIDDEN,
    "attn_q.bias": HIDDEN,
    "attn_k.bias": 32,
    "attn_v.bias": 32,
}
MATRICES = {
    "attn_q.weight": (HIDDEN, HIDDEN),
    "attn_k.weight": (32, HIDDEN),
    "attn_v.weight": (32, HIDDEN),
    "attn_output.weight": (HIDDEN, HIDDEN),
    "ffn_gate.weight": (FEED_FORWARD, HIDDEN),
    "ffn_up.weight": (FEED_FORWARD, HIDDEN),
    "ffn_down.weight": (HIDDEN, FEED_FORWARD),
}


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + rank) for rank in range(len(others))]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of two layers, matrices in 8 bit, with an output matrix of its own and a byte-level vocabulary."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokens = [*byte_alphabet(), "de", "def", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens += [f"[PAD{index}]" for index in range(len(tokens), 288)]
    kinds = [gguf.TokenType.NORMAL] * 258 + [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNUSED] * (288 - 261)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_block_count(LAYERS)
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["d e", "de f"])
    writer.add_eos_token_id(260)
    writer.add_bos_token_id(258)
    writer.add_pad_token_id(258)
    writer.add_chat_template(CHAT_TEMPLATE)
    rng = np.random.default_rng(0)
    matrices = {"token_embd.weight": (288, HIDDEN), "output.weight": (288, HIDDEN)}
    vectors = {"output_norm.weight": HIDDEN}
    for layer in range(LAYERS):
        matrices |= {f"blk.{layer}.{name}": shape for name, shape in MATRICES.items()}
        vectors |= {f"blk.{layer}.{name}": size for name, size in NORMS_AND_BIASES.items()}
    for name, size in vectors.items():
        writer.add_tensor(name, rng.normal(size=size).astype(np.float32))
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, shape in matrices.items():
        writer.add_tensor(name, gguf.quantize(rng.normal(size=shape).astype(np.float32), q8), raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory, and no network: neither the hub nor a package index."""
    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def left_in_cache(cache: Path) -> Callable[[], list[str]]:
    """Lists everything below the cache's models but the locks, which are empty."""
    return lambda: sorted(path.name for path in (cache / "models").glob("*") if path.suffix != ".lock")
