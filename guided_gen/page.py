"""The page that shows searches; page.js draws them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from .engine.html_page import html_page


def page(searches: Sequence[dict[str, Any]], title: str, live: bool = False) -> str:
    """The page of searches as `search_data` makes them. `live`: with a form that asks the server it comes from."""
    body = _asset("page.html").replace("{{title}}", html.escape(title), 1)
    return html_page(title, body, _asset("page.css"), _asset("page.js"), {"searches": list(searches), "live": live}, live)


def frame(text: str) -> str:
    """A page within another page, such as a notebook, that it cannot reach."""
    style = "width: 100%; height: 45em; border: 1px solid #8888"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{html.escape(text)}"></iframe>'


def _asset(name: str) -> str:
    return (files(__package__) / "page_assets" / name).read_text(encoding="utf-8")
