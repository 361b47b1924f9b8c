"""Value models go to the hub and come back, with what was fitted to them; a hub that is a folder stands for the real one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import RepoUrl

from guided_gen.valuemodel.made_for import ValueModelError, value_sha256
from guided_gen.valuemodel.model import ValueModel

from .made_up import tiny_base, trained


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "hub"

    def create(api: Any, repo_id: str, **_: Any) -> RepoUrl:
        (root / repo_id).mkdir(parents=True, exist_ok=True)
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload(api: Any, *, repo_id: str, folder_path: Path, **_: Any) -> None:
        shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

    def download(repo_id: str, allow_patterns: list[str]) -> str:
        if not (root / repo_id).is_dir():
            raise OSError("404")
        assert {path.name for path in (root / repo_id).iterdir()} <= set(allow_patterns)
        return str(root / repo_id)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return root


@pytest.fixture
def value(tmp_path: Path) -> Path:
    folder = tmp_path / "value"
    trained(ValueModel.from_base(tiny_base("qwen2"), 2)).save_pretrained(folder)
    (folder / "README.md").write_text("# A card\n")
    (folder / "evidence.json").write_text("{}")
    (folder / "training").mkdir()
    return folder


def test_what_was_pushed_is_loaded_by_its_name(hub: Path, value: Path) -> None:
    assert ValueModel.from_pretrained(value).push_to_hub("me/tiny-values") == "https://huggingface.co/me/tiny-values"
    pushed = hub / "me" / "tiny-values"
    assert value_sha256(pushed) == value_sha256(value)
    assert {path.name for path in pushed.iterdir()} == {"config.json", "model.safetensors", "README.md", "evidence.json"}
    again = ValueModel.from_pretrained("me/tiny-values")
    assert (again.head.calibration == ValueModel.from_pretrained(value).head.calibration).all()


def test_changed_weights_leave_behind_what_was_fitted_to_others(hub: Path, value: Path) -> None:
    trained(ValueModel.from_pretrained(value)).push_to_hub("me/changed")
    assert {path.name for path in (hub / "me" / "changed").iterdir()} == {"config.json", "model.safetensors"}


def test_what_fails_is_one_sentence(hub: Path, value: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("401 Unauthorized\nlog in first")

    with pytest.raises(ValueModelError, match="neither a folder nor a value model on"):
        ValueModel.from_pretrained("me/nothing")
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(ValueModelError, match=r"me/values could not be uploaded .*: 401 Unauthorized$"):
        ValueModel.from_pretrained(value).push_to_hub("me/values")
