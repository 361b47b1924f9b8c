"""From a model's name to a local folder that transformers loads, and to an identity that data and weights can record.

A name is a local folder, a local GGUF file, a known model (the default one) or a hub id, tried in this order. GGUF files
are converted once to float32 safetensors in the cache directory; hub models stay in the hub's own cache.
Not covered: formats other than safetensors and GGUF, and code shipped with a model (`trust_remote_code`).
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import replaced_atomically
from ..progress import stage
from .gguf_conversion import CONVERTER_VERSION, convert_gguf
from .sources import DEFAULT_MODEL, KNOWN_MODELS, KnownModel, ModelFilesError, fetch_gguf, fetch_hub_folder, has_weights

RECORD_NAME = "guided_gen_model.json"


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights and tokens a folder holds. Two are equal when weights and tokenizer are, whatever the names.

    `sha256` is that of the GGUF for a converted model; else a hash over configuration, safetensors and tokenizer.
    `converter` is the version of the conversion, None for a folder that was not converted here.
    """

    name: str = field(compare=False)
    sha256: str
    converter: int | None = None


@dataclass(frozen=True)
class ModelEntry:
    """One row of `list_models`: `folder` is None and `n_bytes` 0 for a known model that is not fetched yet."""

    name: str
    folder: Path | None
    n_bytes: int


def resolve_model(name: str = DEFAULT_MODEL, *, fetch: bool = True) -> Path:
    """The local folder of the model: safetensors, configuration and tokenizer, ready for `from_pretrained`.

    Downloads and converts what is missing, with progress on stderr; with `fetch=False` nothing is downloaded.
    Raises ModelFilesError, one sentence that says what to do, when the name is unknown, no source delivers, the disk is
    full or the file is broken; nothing half-written stays behind.
    """
    path = Path(name).expanduser()
    if name and path.is_dir():
        if not has_weights(path):
            raise ModelFilesError(f"{name} holds no config.json with all its safetensors weights; pass a complete model folder.")
        return path
    if path.is_file():
        return _resolve_gguf(path)
    if name in KNOWN_MODELS:
        return _resolve_known(KNOWN_MODELS[name], fetch=fetch)
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not name.endswith(".gguf"):
        with _disk_errors_explained(name):
            return fetch_hub_folder(name, fetch=fetch)
    if "/" in name or name.endswith(".gguf"):
        raise ModelFilesError(f"There is no file or folder {name}; check the path.")
    raise ModelFilesError(
        f"Unknown model {name!r}: pass a folder, a GGUF file, a hub id such as owner/name, or {', '.join(KNOWN_MODELS)}."
    )


def model_identity(folder: Path | str) -> ModelIdentity:
    """The identity of the model in `folder`. Hashes of files are remembered by path, size and time of change."""
    folder = Path(folder)
    record = _read_record(folder)
    if record is not None:
        return ModelIdentity(name=record["name"], sha256=record["sha256"], converter=record["converter"])
    if not has_weights(folder):
        raise ModelFilesError(f"{folder} holds no config.json with all its safetensors weights, so it has no identity.")
    files = [folder / "config.json", folder / "tokenizer.json", *sorted(folder.glob("*.safetensors"))]
    lines = [f"{file.name} {_file_sha256(file)}\n" for file in files if file.is_file()]
    return ModelIdentity(name=_folder_model_name(folder), sha256=hashlib.sha256("".join(lines).encode()).hexdigest())


def list_models() -> list[ModelEntry]:
    """Known models, fetched or not, and every GGUF that was converted into the cache."""
    fetched = []
    for folder in sorted(_models_dir().glob(f"*/{RECORD_NAME}")):
        record = _read_record(folder.parent)
        if record is not None and not folder.parent.name.startswith("."):
            n_bytes = sum(record["files"].values())
            fetched.append(ModelEntry(name=record["name"], folder=folder.parent, n_bytes=n_bytes))
    missing = set(KNOWN_MODELS) - {entry.name for entry in fetched}
    return [ModelEntry(name=name, folder=None, n_bytes=0) for name in sorted(missing)] + fetched


def cache_dir() -> Path:
    """`$GUIDED_GEN_CACHE`, else `guided-gen` in the user's cache directory. It may not exist yet."""
    own = os.environ.get("GUIDED_GEN_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "guided-gen"


def _models_dir() -> Path:
    return cache_dir() / "models"


def _resolve_known(model: KnownModel, *, fetch: bool) -> Path:
    if not fetch and not _is_complete(_converted_folder(model.name, model.sha256)):
        raise ModelFilesError(f"{model.name} is not on this machine yet; fetch it with `guided-gen models pull`.")
    return _convert_once(model.name, model.sha256, lambda staging: fetch_gguf(model, staging))


def _resolve_gguf(path: Path) -> Path:
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelFilesError(f"{path} is not a GGUF file; pass a GGUF file or the folder of a model.")
    sha256 = _file_sha256(path)
    names = {model.sha256: model.name for model in KNOWN_MODELS.values()}
    return _convert_once(names.get(sha256, path.stem), sha256, lambda staging: (path.absolute(), path.name))


def _convert_once(name: str, sha256: str, deliver: Callable[[Path], tuple[Path, str]]) -> Path:
    """The converted folder, made by one process at a time when it is missing.

    `deliver(staging folder)` gives the GGUF and the name of its source.
    All work happens in a staging folder beside the final one, which takes its name by one rename. A killed process
    leaves its staging folder to the next one.
    """
    folder = _converted_folder(name, sha256)
    if _is_complete(folder):
        return folder
    with _disk_errors_explained(name):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock", name):
            for leftover in folder.parent.glob(f".{folder.name}.*.tmp"):
                shutil.rmtree(leftover)
            if _is_complete(folder):
                return folder
            staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
            try:
                gguf, source = deliver(staging)
                converted = staging / "converted"
                _convert(gguf, converted, name)
                _write_record(converted, name=name, sha256=sha256, source=source)
                shutil.rmtree(folder, ignore_errors=True)
                converted.rename(folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return folder


def _convert(gguf: Path, folder: Path, name: str) -> None:
    try:
        convert_gguf(gguf, folder, name)
    except Exception as error:  # transformers and gguf raise whatever a malformed file trips over
        if _is_disk_full(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFilesError(
            f"{name} could not be converted from GGUF ({first_line}); pass a model folder with safetensors instead."
        ) from error


def _converted_folder(name: str, sha256: str) -> Path:
    slug = re.sub(r"[^\w.-]+", "--", name).lstrip(".")
    return _models_dir() / f"{slug}-{sha256[:12]}-v{CONVERTER_VERSION}"


def _write_record(folder: Path, **origin: str) -> None:
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    (folder / RECORD_NAME).write_text(json.dumps({**origin, "converter": CONVERTER_VERSION, "files": sizes}, indent=2) + "\n")


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD_NAME).read_text())
    except (OSError, ValueError):
        return None
    return record


def _is_complete(folder: Path) -> bool:
    """Whether the record is there and every file has the size it was written with: a disk can lose what a rename promised."""
    record = _read_record(folder)
    if record is None:
        return False
    return all((folder / name).is_file() and (folder / name).stat().st_size == size for name, size in record["files"].items())


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock file; the system lets go of it when the process dies, however it dies."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with stage(f"Waiting for another process that is setting up {name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if _is_disk_full(error):
            advice = "free some space there or set GUIDED_GEN_CACHE to a folder on a larger disk"
            raise ModelFilesError(f"The disk of {cache_dir()} is full, so {name} was not set up; {advice}.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ModelFilesError(
                f"{name} cannot be written to {cache_dir()} ({error.strerror}); set GUIDED_GEN_CACHE to a folder of yours."
            ) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "os error 28" in str(error) or "No space left" in str(error)  # safetensors wraps the system's error in its own


def _file_sha256(path: Path) -> str:
    """SHA-256 of the file, remembered in the cache directory while path, size and time of change stay the same."""
    path = path.resolve()
    status = path.stat()
    state = {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    remembered = cache_dir() / "hashes" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError):
        entry = json.loads(remembered.read_text())
        if {key: entry[key] for key in state} == state:
            return str(entry["sha256"])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with suppress(OSError), replaced_atomically(remembered) as temporary:  # only costs time the next time
        temporary.write_text(json.dumps({**state, "sha256": sha256}))
    return sha256


def _folder_model_name(folder: Path) -> str:
    """`owner/name` for a folder of the hub's cache (`models--owner--name/snapshots/<revision>`), else the folder's name."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return folder.resolve().name
