"""A model's name leads to a whole folder with the right weights, or to one sentence and a clean cache."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from guided_gen.engine.models import files as model_files
from guided_gen.engine.models.files import ModelFilesError, list_models, model_identity, resolve_model
from guided_gen.engine.models.sources import DEFAULT_MODEL

LeftInCache = Callable[[], list[str]]
pytestmark = pytest.mark.usefixtures("cache")


# A process that resolves argv[1]; its conversion is replaced by one that writes, says so and then waits argv[2] seconds.
SLOW_CONVERSION = """
import sys, time
from guided_gen.engine.models import files as model_files
def convert_slowly(gguf, folder, name):
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"half of the weights")
    print("converting", flush=True)
    time.sleep(float(sys.argv[2]))
model_files.convert_gguf = convert_slowly
print(model_files.resolve_model(sys.argv[1]))
"""


def hf_folder(folder: Path, weight: float = 1.0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    save_file({"w": np.full(3, weight, dtype=np.float32)}, folder / "model.safetensors")
    return folder


def test_converted_weights_are_gguf_own_dequantisation(tiny_gguf: Path) -> None:
    folder = resolve_model(str(tiny_gguf))
    parts = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
    parts |= {
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    names = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight"}
    for layer in range(2):
        names |= {f"blk.{layer}.{part}.weight": f"model.layers.{layer}.{hf_part}.weight" for part, hf_part in parts.items()}
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tiny_gguf).tensors}
    with safe_open(folder / "model.safetensors", "numpy") as converted:
        assert len(converted.keys()) == len(tensors)
        for name, hf_name in names.items():
            expected = gguf.dequantize(tensors[name].data, tensors[name].tensor_type)
            assert np.array_equal(converted.get_tensor(hf_name), expected), name


def test_converted_folder_loads_without_mention_of_gguf(tiny_gguf: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_model(str(tiny_gguf))
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert not model.config.tie_word_embeddings
    assert model.generation_config.eos_token_id == [260, 258]
    text = "def f(x): return 'é' + x\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.encode("def") == [257]
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": "d"}], return_dict=False)
    assert prompt == [259, *tokenizer.encode("d"), 260]


def test_conversion_happens_once(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left_in_cache: LeftInCache
) -> None:
    folder = resolve_model(str(tiny_gguf))
    assert "Converting tiny" in capsys.readouterr().err
    monkeypatch.setattr(model_files, "convert_gguf", None)
    assert resolve_model(str(tiny_gguf)) == folder
    assert capsys.readouterr().err == ""
    assert left_in_cache() == [folder.name]


def test_weights_that_lost_bytes_are_converted_again(tiny_gguf: Path) -> None:
    folder = resolve_model(str(tiny_gguf))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    assert resolve_model(str(tiny_gguf)) == folder
    assert weights.read_bytes() == whole


def test_identity_of_a_converted_model_is_its_source_file(tiny_gguf: Path, tmp_path: Path) -> None:
    renamed = shutil.copy(tiny_gguf, tmp_path / "other-name.gguf")
    identity = model_identity(resolve_model(str(tiny_gguf)))
    assert identity.sha256 == hashlib.sha256(tiny_gguf.read_bytes()).hexdigest()
    assert identity == model_identity(resolve_model(str(renamed)))
    assert (identity.name, model_identity(resolve_model(str(renamed))).name) == ("tiny", "other-name")


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
    hashed = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: hashed.append(Path(file.name).name) or digest(file, name))
    assert model_identity(folder) == identity and hashed == []
    save_file({"w": np.zeros(4, dtype=np.float32)}, folder / "model.safetensors")
    assert model_identity(folder) != identity and hashed == ["model.safetensors"]


@pytest.mark.parametrize(
    "full",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_while_converting_leaves_nothing(
    full: Exception, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    def convert(source: Path, folder: Path, name: str) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
        raise full

    monkeypatch.setattr(model_files, "convert_gguf", convert)
    with pytest.raises(ModelFilesError, match=r"disk of .* is full.*GUIDED_GEN_CACHE"):
        resolve_model(str(tiny_gguf))
    assert left_in_cache() == []


def test_cache_that_is_a_file_is_explained(tiny_gguf: Path, cache: Path) -> None:
    cache.write_text("")
    with pytest.raises(ModelFilesError, match=r"cannot be written to .* set GUIDED_GEN_CACHE"):
        resolve_model(str(tiny_gguf))


def test_two_processes_convert_once(tiny_gguf: Path, cache: Path, left_in_cache: LeftInCache) -> None:
    command = [sys.executable, "-c", SLOW_CONVERSION, str(tiny_gguf), "0.5"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = sorted(line for process in processes for line in process.communicate(timeout=60)[0].splitlines())
    folder = str(cache / "models" / left_in_cache()[0])
    assert lines == sorted(["converting", folder, folder])
    assert len(left_in_cache()) == 1


def test_kill_during_conversion_leaves_only_what_the_next_run_clears(tiny_gguf: Path, left_in_cache: LeftInCache) -> None:
    command = [sys.executable, "-c", SLOW_CONVERSION, str(tiny_gguf), "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "converting\n"
        process.send_signal(signal.SIGKILL)
    assert all(name.startswith(".") and name.endswith(".tmp") for name in left_in_cache()) and left_in_cache()
    assert DEFAULT_MODEL in [entry.name for entry in list_models()] and len(list_models()) == 1
    folder = resolve_model(str(tiny_gguf))
    assert left_in_cache() == [folder.name]
    assert (folder / "tokenizer.json").exists()


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
    ],
)
def test_names_that_lead_nowhere(name: str, sentence: str) -> None:
    with pytest.raises(ModelFilesError, match=sentence):
        resolve_model(name)


def test_gguf_that_cannot_be_read_is_one_sentence(tiny_gguf: Path, tmp_path: Path, left_in_cache: LeftInCache) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_gguf.read_bytes()[:5_000])
    with pytest.raises(ModelFilesError, match=r"broken could not be converted from GGUF") as caught:
        resolve_model(str(broken))
    assert "\n" not in str(caught.value)
    assert left_in_cache() == []


def test_folder_lacking_a_shard_is_refused(tmp_path: Path) -> None:
    folder = hf_folder(tmp_path / "model")
    assert resolve_model(str(folder)) == folder
    index = {"weight_map": {"w": "model.safetensors", "v": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFilesError, match="all its safetensors"):
        resolve_model(str(folder))
