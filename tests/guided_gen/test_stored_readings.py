"""A file of readings that was damaged is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from guided_gen.engine.errors import DataError
from guided_gen.engine.tree import Tree
from guided_gen.stored_readings import _known


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00{", b"x" * 1_000_000])
def test_what_is_no_array_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"one\.npy"):
        _known(Tree(1, ""), path)


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "one.npy"
    np.save(path, np.asarray([object()]), allow_pickle=True)
    with pytest.raises(DataError, match=r"one\.npy"):
        _known(Tree(1, ""), path)
