"""A wheel holds the kernels, and works from an environment of its own, outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

from guided_gen.engine.cpu import kernels

ROOT = Path(__file__).parents[1]
USE = """
import torch, guided_gen
from guided_gen.engine.cpu import kernels
from guided_gen.engine.cpu.blocks import BlockMatrix, BlockType, quantize_to_q8_0
matrix = BlockMatrix(2, 32, BlockType.Q8_0)
matrix.fill(0, quantize_to_q8_0(torch.eye(2, 32)))
print(guided_gen.__file__, kernels.levels(), matrix.times(torch.ones(1, 32)).round().tolist(), sep="|")
"""


@pytest.mark.skipif(not kernels.levels(), reason="this machine has no kernels")
def test_a_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    for left in [*ROOT.glob("build/lib*"), *ROOT.glob("build/bdist*")]:
        shutil.rmtree(left)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    assert "-cp311-abi3-linux" in wheel.name
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    site = subprocess.check_output([python, "-c", "import site; print(site.getsitepackages()[0])"], text=True).strip()
    (Path(site) / "what_is_needed.pth").write_text(str(Path(torch.__file__).parents[1]))
    subprocess.run([*pip, "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True)
    [where, levels, product] = subprocess.check_output([python, "-c", USE], text=True, cwd=tmp_path).strip().split("|")
    assert where.startswith(site) and levels == str(kernels.levels()) and product == "[[1.0, 1.0]]"
