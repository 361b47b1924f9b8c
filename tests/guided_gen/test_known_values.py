"""The value models at hand: those of the package are whole, small, and for known generators; installed ones go before them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from guided_gen import GuidedGenerator
from guided_gen.data_builder.problems.prompts import DEFAULT_TEMPLATE
from guided_gen.engine.models.known import KNOWN_MODELS
from guided_gen.known_values import SHIPPED, install, installed_folder, known_value, known_values, value_made_for
from guided_gen.valuemodel.early_stop import chosen_policy, read_curves
from guided_gen.valuemodel.made_for import ValueModelError, made_for
from guided_gen.valuemodel.model import ValueModel

from .commands import refused, succeed

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
@pytest.mark.parametrize("model", ["qwen2.5-coder-1.5b", "qwen2.5-coder-0.5b"])
def test_a_generator_takes_its_own_and_ranks_by_it(model: str) -> None:
    assert known_value(model) in FOLDERS
    generator = GuidedGenerator.from_pretrained(model)
    solution = generator.solve("Write a function double(x).\n\ndouble(2) == 4", n=2, max_new_tokens=40, check_every=8)
    for candidate in solution.candidates:
        assert candidate.score is not None and 0 < candidate.score < 1
        assert candidate.values[-1] == pytest.approx(candidate.score)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A value model's folder as training leaves it."""
    folder = tmp_path / "trained"
    shutil.copytree(FOLDERS[0], folder)
    (folder / "training").mkdir(exist_ok=True)
    (folder / "training" / "log").write_text("large")
    return folder


def test_an_installed_one_goes_before_the_package_s_until_it_is_removed(cache: Path, trained: Path) -> None:
    wanted = asdict(made_for(trained))
    assert value_made_for(wanted) == FOLDERS[0]
    installed = install(trained)
    assert value_made_for(wanted) == installed
    assert installed.parent == installed_folder()
    assert {path.name for path in installed.iterdir()} == {path.name for path in trained.iterdir() if path.is_file()}
    assert value_made_for(wanted | {"precision": "float32"}) is None
    assert value_made_for(wanted | {"template_hash": "0"}) is None
    listed = succeed("values", "list").stdout
    assert installed.name in listed and FOLDERS[0].name in listed and "installed by guided-gen adapt" in listed
    assert succeed("values", "path", installed.name).stdout.strip() == str(installed)
    assert succeed("values", "remove", installed.name).exit_code == 0
    assert value_made_for(wanted) == FOLDERS[0]
    assert "there is no value model" in refused("values", "remove", installed.name)
    assert "comes with guided-gen and stays" in refused("values", "remove", FOLDERS[0].name)


def test_installing_again_takes_the_place_of_the_earlier_and_others_stand_beside_it(cache: Path, trained: Path) -> None:
    first = install(trained)
    (trained / "README.md").write_text("# Newer\n")
    assert install(trained) == first
    assert (first / "README.md").read_text() == "# Newer\n"
    config = json.loads((trained / "config.json").read_text())
    config["made_for"]["precision"] = "float32"
    (trained / "config.json").write_text(json.dumps(config))
    assert install(trained) != first
    assert len([one for one in known_values() if one.installed]) == 2
    assert sorted(path.name for path in installed_folder().iterdir()) == sorted(
        one.folder.name for one in known_values() if one.installed
    )


def test_a_folder_that_is_no_value_model_is_neither_installed_nor_found(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueModelError):
        install(tmp_path)
    (installed_folder() / "broken").mkdir(parents=True)
    assert not [one for one in known_values() if one.installed]
