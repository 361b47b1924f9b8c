"""Files appear whole or not at all, and are read up to a length."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replaced_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it takes the place of `path`, on any error it is removed.

    A link keeps its place, and the file that it names is replaced. Raises OSError where `path` is there and is no regular file: a
    device, a pipe, a folder. Any OSError on the way, also of who writes to the temporary name, is of `path`.
    """
    with errors_of(path):
        check_replaceable(path)
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Put `text`, in UTF-8, in the place of what `path` holds. Raises OSError as `replaced_atomically`."""
    with replaced_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def text_within(path: Path, most_bytes: int) -> str:
    """The text of a file in UTF-8. Raises OSError, and ValueError where it is longer or no text."""
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes} bytes")
    return content.decode()


def check_replaceable(path: Path) -> None:
    """Raise OSError where `path` is there and is no regular file."""
    if path.exists() and not path.is_file():
        raise OSError(None, "it is no regular file", str(path))


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Have an OSError name `path`: that of a full disk names no file. Safetensors has an error of its own for it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except SafetensorError as error:
        raise OSError(None, str(error), str(path)) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
