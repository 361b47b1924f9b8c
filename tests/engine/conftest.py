"""A tiny GGUF model, and a cache directory of the test's own without any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import Qwen2Config, Qwen2ForCausalLM

from .gguf_files import write_gguf


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of two layers, matrices in 8 bit, with an output matrix of its own and a byte-level vocabulary."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config = Qwen2Config(
        vocab_size=288,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    write_gguf(Qwen2ForCausalLM(config), path)
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
