"""A schema that fails while answers are decoded fails its own search, and no other that is decoded with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.grammar import Grammar
from guided_gen.generator import GuidedGenerator

ASKED = [{"role": "user", "content": "Hi"}]


class Late(Grammar):
    """A grammar that turns out to be too complex at its 20th mask."""

    def __init__(self, grammar: Grammar) -> None:
        self.__dict__ = dict(grammar.__dict__)
        self.left = 20

    def allowed(self, matcher: Any) -> np.ndarray:
        self.left -= 1
        if self.left <= 0:
            raise SettingsError("this schema is too complex")
        return super().allowed(matcher)


def test_a_schema_that_fails_late_fails_its_own_search_only(tiny_folder: Path) -> None:
    with GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32") as generator, ThreadPoolExecutor() as threads:
        grammars = generator.grammars
        alone = generator.solve(ASKED, n=2, max_new_tokens=300, seed=1)
        beside = threads.submit(generator.solve, ASKED, n=2, max_new_tokens=300, seed=1)
        for _ in range(5):
            with pytest.raises(SettingsError, match="schema"):
                generator.solve(ASKED, n=2, max_new_tokens=60, grammar=Late(grammars.json({"type": "array", "minItems": 40})))
        assert beside.result().best.text == alone.best.text
