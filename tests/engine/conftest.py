"""A tiny GGUF model, and a cache directory of the test's own without any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import constants

from .gguf_files import write_tiny_gguf


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 of two layers; see `write_tiny_gguf`."""
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", context=128)


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
