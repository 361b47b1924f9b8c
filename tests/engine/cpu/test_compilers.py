"""Whichever compiler made the kernels, and for whichever processor, they compute what the installed ones do, to the bit, at every
level of instructions.
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from guided_gen.engine.cpu import kernels

from .compiling import KERNELS, compile_kernels

pytestmark = pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")

DRIVER = Path(__file__).with_name("kernel_results.c")
FLAGS = ["-Wall", "-Wextra", "-Werror", f"-I{KERNELS.parent}"]
ARM_FLAGS = {
    "aarch64-linux-gnu-gcc": ["-static"],
    "clang": ["-static", "--target=aarch64-linux-gnu", "-march=armv8.2-a+dotprod"],  # as for Macs
}


def results(*command: str | Path) -> dict[int, list[str]]:
    """What the driver tells, of each level."""
    told = defaultdict(list)
    for line in subprocess.check_output(command, text=True).splitlines():
        level, result = line.split(maxsplit=1)
        told[int(level)].append(result)
    return told


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The results of the installed kernels, equal at all levels."""
    driver = tmp_path_factory.mktemp("installed") / "results"
    compile_kernels("gcc", driver, FLAGS, DRIVER, kernels.library()._name)
    of_levels = results(driver)
    assert tuple(of_levels) == kernels.levels()
    first = of_levels[kernels.levels()[0]]
    assert all(other == first for other in of_levels.values())
    return first


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_a_compiler_gives_no_warning_and_the_same_results(compiler: str, installed: list[str], tmp_path: Path) -> None:
    compile_kernels(compiler, tmp_path / "results", FLAGS, KERNELS, DRIVER)
    assert results(tmp_path / "results") == dict.fromkeys(kernels.levels(), installed)


@pytest.mark.parametrize("compiler", ARM_FLAGS)
def test_arm_gives_the_same_results(compiler: str, installed: list[str], tmp_path: Path) -> None:
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed")
    compile_kernels(compiler, tmp_path / "results", [*FLAGS, *ARM_FLAGS[compiler]], KERNELS, DRIVER)
    both = dict.fromkeys([kernels.NEON, kernels.NEON_DOT], installed)
    assert results(emulator, "-cpu", "max", tmp_path / "results") == both
    if compiler != "clang":  # a processor without the dot product, as those of many small boards
        assert results(emulator, "-cpu", "cortex-a72", tmp_path / "results") == {kernels.NEON: installed}
