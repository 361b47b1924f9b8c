"""Texts that others wrote are read as the engine reads its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from guided_gen.engine.errors import ContextError, SettingsError
from guided_gen.engine.models.loading import load_model, load_weights
from guided_gen.engine.scorers import value
from guided_gen.engine.tree import Ended
from guided_gen.generator import GuidedGenerator
from guided_gen.question import Continuation
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.model import ValueModel

CHAT = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    values = ValueModel.from_base(load_weights(tiny_folder, "float32"), 1, HeadSettings(("last", "mean", "logprob")))
    torch.manual_seed(1)
    for parameter in values.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return GuidedGenerator(load_model(str(tiny_folder), "float32", values.engine_tail(torch.float32, "cpu")))


def test_a_generated_answer_is_read_with_the_numbers_it_was_written_with(generator: GuidedGenerator) -> None:
    solution = generator.solve(CHAT, n=40, max_new_tokens=3, seed=2, scorer=value)
    tokenizer = generator.loaded.tokenizer
    readable = [
        c for c in solution.candidates if c.ended == Ended.LENGTH and tokenizer(c.text)["input_ids"] == c.token_ids.tolist()
    ]
    assert readable
    for candidate, scored in zip(readable, generator.score(CHAT, [c.text for c in readable]), strict=True):
        np.testing.assert_allclose(scored.logprobs, candidate.logprobs, atol=1e-4)
        np.testing.assert_allclose(scored.values, candidate.values, atol=1e-4)
        assert scored.value == pytest.approx(candidate.score, abs=1e-4)
    generator.scheduler.between_steps(lambda: None).result()
    assert generator.loaded.language_model.statistics.cached_tokens == 0


def test_pieces_are_the_text(generator: GuidedGenerator) -> None:
    for text in ("a", "Ärger 🙂\n\tx", "   "):
        scored = generator.score(Continuation("Read this: "), [text])[0]
        assert "".join(scored.pieces) == text and len(scored.pieces) == len(scored.token_ids)


def test_what_is_too_long_or_empty_is_refused(generator: GuidedGenerator) -> None:
    with pytest.raises(SettingsError, match="empty"):
        generator.score(CHAT, [""])
    with pytest.raises(SettingsError, match="up to 3"):
        generator.score(CHAT, ["four"], max_tokens=3)
    with pytest.raises(ContextError):
        generator.score([{"role": "user", "content": "x" * 5000}], ["y"])
