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


def compile_kernels(compiler: str, out: Path, *arguments: str | Path) -> None:
    """Compile with the flags of an installation, and `arguments`: what else there is to compile, and further flags.

    Skips the test where the compiler is missing. Raises CalledProcessError with the compiler's words on stderr.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    libraries = [f"-l{name}" for name in _EXTENSION["libraries"]]
    subprocess.run([compiler, *_EXTENSION["extra-compile-args"], *arguments, "-o", out, *libraries], check=True)
