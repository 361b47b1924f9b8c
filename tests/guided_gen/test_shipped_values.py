"""The value models that come with the package: whole, small, and made for the default generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from guided_gen import GuidedGenerator
from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.engine.models.known import KNOWN_MODELS
from guided_gen.shipped_values import SHIPPED, shipped_value
from guided_gen.valuemodel.early_stop import chosen_policy, read_curves
from guided_gen.valuemodel.model import ValueModel

FOLDERS = sorted(path for path in SHIPPED.glob("*") if path.is_dir())
MOST_BYTES = 4_000_000


def test_each_is_made_for_a_known_generator_and_the_default_prompts() -> None:
    hashes = {model.sha256 for model in KNOWN_MODELS.values()}
    for made in map(ValueModel.made_for, FOLDERS):
        assert made.model_sha256 in hashes
        assert (made.precision, made.template_hash) == ("int8", DEFAULT_TEMPLATE.hash)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_is_small_and_has_a_card_and_curves_of_its_own_weights(folder: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    card = (folder / "README.md").read_text()
    assert all(heading in card for heading in ("## Data", "## Training", "## Results", "## Limits"))
    for curve in read_curves(folder)["curves"]:
        chosen_policy(f"early-stop:lost={curve['lost']}", ["value"], folder, read_curves(folder)["check_every"])


@pytest.mark.model
@pytest.mark.skipif(torch.cuda.is_available(), reason="the shipped values are of the int8 generator, which is for CPUs")
def test_a_generator_takes_its_own_and_ranks_by_it() -> None:
    assert shipped_value("qwen2.5-coder-0.5b") in FOLDERS
    generator = GuidedGenerator.from_pretrained("qwen2.5-coder-0.5b")
    solution = generator.solve("Write a function double(x).\n\ndouble(2) == 4", n=2, max_new_tokens=40, check_every=8)
    for candidate in solution.candidates:
        assert candidate.score is not None and 0 < candidate.score < 1
        assert candidate.values[-1] == pytest.approx(candidate.score)
