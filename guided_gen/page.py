"""The page that shows searches; page.js draws them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .engine.html_page import html_page

# Read in this order, as one script.
SCRIPTS = ("diff.min.js", "page.js", "search.js", "compare.js", "watch.js", "ask.js")


def page(searches: Sequence[dict[str, Any]], title: str, live: dict[str, Any] | None = None) -> str:
    """The page of searches as `search_data` makes them. `live`: with a form that asks the server it comes from, which has these
    `policies` and allows at `most` so much.
    """
    body = _asset("page.html").replace("{{title}}", html.escape(title), 1)
    script = "\n".join(map(_asset, SCRIPTS))
    return html_page(title, body, _asset("page.css"), script, {"searches": list(searches), "live": live}, live is not None)


def frame(text: str) -> str:
    """A page within another page, such as a notebook, that it cannot reach."""
    style = "width: 100%; height: 45em; border: 1px solid #8888"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{html.escape(text)}"></iframe>'


def _asset(name: str) -> str:
    return (files(__package__) / "page_assets" / name).read_text(encoding="utf-8")
