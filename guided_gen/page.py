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


def _asset(name: str) -> str:
    return (files(__package__) / "page_assets" / name).read_text(encoding="utf-8")
