"""For mkdocs. Links that leave docs/ become names of files; the package's rooms, which lie beside it, are put in one folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

ROOMS = ("engine", "valuemodel", "data_builder", "benchmarks")
_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)]*)\)")


@event_priority(100)  # before mkdocstrings looks there
def on_config(config: Any) -> None:
    """Links to the sources under their installed names, in the first of mkdocstrings' `paths`."""
    root = Path(config.config_file_path).parent
    package = Path(config.plugins["mkdocstrings"].config.handlers["python"]["paths"][0], "guided_gen")
    package.mkdir(parents=True, exist_ok=True)
    for source in (*(root / "guided_gen").glob("*"), *(root / room for room in ROOMS)):
        if not (package / source.name).exists():
            (package / source.name).symlink_to(source)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _OUTSIDE.sub(lambda link: link[1] if "`" in link[1] else f"{link[1]} (`{link[2]}`)", markdown)
