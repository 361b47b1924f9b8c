"""The documentation as a site: it builds without a warning, and its reference pages hold what the package exports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import guided_gen

ROOT = Path(__file__).parents[2]


def test_the_reference_pages_show_each_name_of_the_package_once() -> None:
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    shown = re.findall(r"^::: guided_gen\.(\S+)$", pages, re.MULTILINE)
    assert sorted(shown) == sorted(f"{module}.{name}" for name, module in guided_gen._MODULE_OF.items())


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-d", str(tmp_path)]
    run = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert (run.returncode, run.stdout + run.stderr) == (0, "")
    assert "Search for an answer to a problem" in (tmp_path / "reference" / "generator.html").read_text()
