"""The page that shows searches: one HTML file with all it needs inside, which fetches nothing.

Data are JSON in a script element that is never run, and page.js writes text as text, never as markup; a content security policy
by hash allows that script and no other, so that nothing in a prompt or an answer can run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def page(searches: Sequence[dict[str, Any]], title: str, live: bool = False) -> str:
    """The page of searches as `search_data` makes them. `live`: with a form that asks the server it comes from."""
    # In a script element only "</script" and "<!--" could end the data; the others would end lines in old parsers.
    data = json.dumps({"searches": searches, "live": live}, separators=(",", ":")).replace("<", "\\u003c")
    text = _asset("page.html")
    parts = {"title": html.escape(title), "style": _asset("page.css"), "data": data, "script": _asset("page.js")}
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]] if found[1] in parts else found[0], text)
    policy = content_security_policy(text, live)
    return text.replace("<!--policy-->", f'<meta http-equiv="Content-Security-Policy" content="{policy}">', 1)


def content_security_policy(text: str, live: bool) -> str:
    """What the page may do: run the one script that it brings, and ask its own server where it is live."""
    found = _SCRIPT.search(text)
    assert found is not None
    script = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    connect = "; connect-src 'self'" if live else ""
    allowed = f"img-src data:; script-src 'sha256-{script}'; style-src 'unsafe-inline'{connect}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _asset(name: str) -> str:
    return (files(__package__) / "page_assets" / name).read_text(encoding="utf-8")
