"""A model's name leads to its files and to an identity, or to one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from guided_gen.engine.errors import ModelError
from guided_gen.engine.models import files as model_files
from guided_gen.engine.models.files import list_models, model_identity, resolve_model
from guided_gen.engine.models.known import KNOWN_MODELS
from guided_gen.engine.models.sources import file_sha256

pytestmark = pytest.mark.usefixtures("cache")


def hf_folder(folder: Path, weight: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    save_file({"w": np.full(3, weight, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def test_a_gguf_of_any_name_is_used_where_it_lies(tiny_gguf: Path, tmp_path: Path, cache: Path) -> None:
    blob = shutil.copy(tiny_gguf, tmp_path / "sha256-abc")
    assert resolve_model(str(blob)) == blob
    assert not (cache / "models").exists()


def test_identity_of_a_gguf_is_its_hash(tiny_gguf: Path, tmp_path: Path) -> None:
    renamed = shutil.copy(tiny_gguf, tmp_path / "other-name.gguf")
    identity = model_identity(tiny_gguf)
    assert identity.sha256 == hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    assert identity == model_identity(renamed)
    assert (identity.name, model_identity(renamed).name) == ("tiny", "other-name")


def test_identity_of_a_folder_changes_with_weights_configuration_and_tokenizer_only(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "one")
    identity = model_identity(folder)
    assert identity == model_identity(hf_folder(tmp_path / "two"))
    assert identity != model_identity(hf_folder(tmp_path / "three", weight=2.0))
    (folder / "README.md").write_text("a remark")
    assert identity == model_identity(folder)
    (folder / "tokenizer.json").write_text("{}")
    with_tokenizer = model_identity(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    assert len({identity.sha256, with_tokenizer.sha256, model_identity(folder).sha256}) == 3


def test_files_are_hashed_once_while_they_stay_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = hf_folder(tmp_path / "model")
    identity = model_identity(folder)
    hashed: list[str] = []
    monkeypatch.setattr(model_files, "file_sha256", lambda path: hashed.append(path.name) or file_sha256(path))
    assert model_identity(folder) == identity and hashed == []
    save_file({"w": np.zeros(4, dtype=np.float32)}, folder / "model.safetensors")
    assert model_identity(folder) != identity and hashed == ["model.safetensors"]


def flip_a_bit(path: Path) -> None:
    """In the middle of a file, which looks as it did before, down to its time of change."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        byte = file.read(1)[0]
        file.seek(status.st_size // 2)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_flipped_bit_is_noticed_whatever_the_time_of_change(tiny_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    shutil.copy(tiny_gguf, path)
    identity = model_identity(path)
    flip_a_bit(path)
    assert model_identity(path) != identity


def test_a_damaged_file_of_the_hubs_cache_is_refused(tmp_path: Path) -> None:
    repo = tmp_path / "hub" / "models--owner--name"
    folder, content = repo / "snapshots" / "abc", hf_folder(tmp_path / "plain")
    folder.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for file in content.iterdir():
        blob = repo / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (folder / file.name).symlink_to(blob)
    assert model_identity(folder).name == "owner/name"
    flip_a_bit((folder / "model.safetensors").resolve())
    with pytest.raises(ModelError, match="is damaged"):
        model_identity(folder)


def test_what_earlier_versions_converted_is_listed_as_unused(cache: Path) -> None:
    folder = cache / "models" / "Qwen--Old-1d9614638d18-v1"
    folder.mkdir(parents=True)
    (folder / "guided_gen_model.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(bytes(1000))
    known, [old] = list_models()[: len(KNOWN_MODELS)], list_models()[len(KNOWN_MODELS) :]
    assert [entry.name for entry in known] == list(KNOWN_MODELS) and not any(entry.path for entry in known)
    assert (old.path, old.n_bytes, old.unused) == (folder, 1002, True)


def test_cache_that_is_a_file_is_explained(cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(ModelError, match=r"cannot be written to .* set GUIDED_GEN_CACHE"):
        resolve_model()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("qwen", r"Unknown model 'qwen': pass a folder"),
        ("", r"Unknown model ''"),
        ("./missing", r"no file or folder ./missing"),
        ("models/missing.gguf", r"no file or folder models/missing.gguf"),
        ("owner/name", r"owner/name could not be fetched from the Hugging Face hub: offline mode is on \(HF_HUB_OFFLINE\)"),
        (__file__, r"is not a GGUF file"),
        (str(Path(__file__).parent), r"holds no config.json with all its safetensors weights"),
        ("a" * 5000, r"cannot be looked for|Unknown model"),
    ],
)
def test_names_that_lead_nowhere(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        resolve_model(name)


def test_a_folder_of_gguf_files_says_to_name_one(tiny_gguf: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_gguf, tmp_path / "b.gguf")
    shutil.copy(tiny_gguf, tmp_path / "a.gguf")
    with pytest.raises(ModelError, match=r"pass one of them, such as .*a\.gguf"):
        resolve_model(str(tmp_path))


def test_folder_lacking_a_shard_is_refused(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "model")
    assert resolve_model(str(folder)) == folder
    index = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="all its safetensors"):
        resolve_model(str(folder))


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"w": 3}}', "[" * 100_000, '{"weight_map": {"w": "../x"}}']
)
def test_a_broken_index_is_one_sentence(index: str, tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ModelError, match="is no index of safetensors files"):
        resolve_model(str(folder))
