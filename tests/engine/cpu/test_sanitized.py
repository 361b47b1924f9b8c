"""The kernels' tests once more, with kernels that gcc's sanitizers watch: reading or writing outside, undefined behaviour."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guided_gen.engine.cpu import kernels

from .compiling import KERNELS, compile_kernels

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")

HERE = Path(__file__).parent
FLAGS = ["-O1", "-g", "-fPIC", "-shared", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
OUTSIDE = """
import torch
import sanitized_kernels
from guided_gen.engine.cpu import kernels
x, out = torch.ones(3, 64), torch.ones(3, 30)
kernels.library().gg_silu_mul(x.data_ptr(), out.data_ptr(), 3, 32, 1)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """With the watched kernels compiled; skips where the compiler has no sanitizers."""
    folder = tmp_path_factory.mktemp("sanitized")
    library = folder / "kernels.so"
    compile_kernels("gcc", library, FLAGS, KERNELS)
    runtime = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    return os.environ | {
        "SANITIZED_KERNELS": str(library),
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "PYTHONPATH": str(HERE),
    }


def test_what_is_written_outside_is_found(environment: dict[str, str]) -> None:
    run = subprocess.run([sys.executable, "-c", OUTSIDE], env=environment, capture_output=True, text=True)
    assert run.returncode != 0 and "AddressSanitizer" in run.stderr and "silu_mul" in run.stderr


def test_the_kernels_tests_pass_watched(environment: dict[str, str]) -> None:
    tests = [str(HERE / f"test_{name}.py") for name in ("kernels", "blocks", "layer_kernel", "pool")]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "sanitized_kernels", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, env=environment, cwd=HERE.parents[2], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
