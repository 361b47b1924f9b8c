"""Tiny random models of the supported families, and random judged trees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from guided_gen.valuemodel.packing import PromptedTree

from .made_up import FAMILIES, random_tree, tiny_base


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest) -> Any:
    """A tiny random model of each family."""
    return tiny_base(request.param)


@pytest.fixture
def qwen() -> Any:
    return tiny_base("qwen2")


@pytest.fixture
def make_tree() -> Callable[..., PromptedTree]:
    return random_tree
