"""Files appear whole or not at all, and take the place of nothing but files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guided_gen.engine.files import replaced_atomically


def test_a_file_is_replaced_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    with replaced_atomically(path) as temporary:
        temporary.write_text("one")
    with pytest.raises(ZeroDivisionError), replaced_atomically(path) as temporary:
        temporary.write_text("two")
        raise ZeroDivisionError
    assert path.read_text() == "one" and [one.name for one in path.parent.iterdir()] == ["file"]


def test_a_link_keeps_its_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    for text in ("one", "two"):  # the first makes the file that it names
        with replaced_atomically(tmp_path / "link") as temporary:
            temporary.write_text(text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == text


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link to a device"])
def test_what_is_no_regular_file_stays(tmp_path: Path, kind: str) -> None:
    path = Path("/dev/null") if kind == "device" else tmp_path / "there"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    before = path.lstat()
    with pytest.raises(OSError, match="no regular file") as told, replaced_atomically(path) as temporary:
        temporary.write_text("text")
    assert told.value.filename == str(path) and path.lstat().st_ino == before.st_ino
