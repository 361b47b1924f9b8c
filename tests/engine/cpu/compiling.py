"""Compiling the kernels as an installation does, for tests of what comes out."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KERNELS = ROOT / "engine/cpu/kernels.c"
[_EXTENSION] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]
_FLAGS, _LIBRARIES = _EXTENSION["extra-compile-args"], [f"-l{name}" for name in _EXTENSION["libraries"]]


def compile_kernels(compiler: str, out: Path, flags: list[str], *sources: str | Path) -> None:
    """Compile with the flags of an installation and further ones. Skips the test where the compiler is missing or lacks what the
    flags ask for; raises CalledProcessError where it does not take the sources.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    command = [compiler, *_FLAGS, *flags, "-o", out]
    empty = [*command, "-xc", "-", *_LIBRARIES]
    if subprocess.run(empty, input="int main(void) { return 0; }", text=True, stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f"{compiler} cannot compile with {' '.join(flags)}")
    subprocess.run([*command, *sources, *_LIBRARIES], check=True)
