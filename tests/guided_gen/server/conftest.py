"""Servers that the tests of this folder share: one that answers, one whose answers never end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from guided_gen.generator import GuidedGenerator

from ..serving import Served, serving


@pytest.fixture(scope="session")
def served(tiny_folder: Path) -> Iterator[Served]:
    with serving(GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")) as server:
        yield server


@pytest.fixture(scope="session")
def endless_server(endless_folder: Path) -> Iterator[Served]:
    """Greedy answers of this server's model go on to the longest that is allowed."""
    with serving(GuidedGenerator.from_pretrained(str(endless_folder), precision="float32")) as server:
        yield server


@pytest.fixture(scope="session")
def client(served: Served) -> Iterator[Any]:
    openai = pytest.importorskip("openai", reason="needs openai, of the extra dev")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client
