"""The one writer of HTML pages: a file with all it needs inside, which fetches nothing.

Data are JSON in a script element that is never run, and scripts write text as text, never as markup; a content security policy by
hash allows the page's own script and no other, so that nothing in a prompt, an answer or a name can run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def html_page(title: str, body: str, style: str, script: str = "", data: Any = None, live: bool = False) -> str:
    """A page; `title` is text, `body` markup. `script` finds `data`, as JSON, in the element with the id data. `live`: it may ask
    the server that it comes from."""
    if script:
        # In a script element only "</script" and "<!--" could end the data.
        told = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
        body += f'<script type="application/json" id="data">{told}</script>\n<script>{script}</script>\n'
    policy = content_security_policy(body, live)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<title>{html.escape(title)}</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>\n'
        f"<body>\n{body}</body>\n</html>\n"
    )


def content_security_policy(text: str, live: bool = False) -> str:
    """What a page may do: run the one script that it brings, and ask its own server where it is live."""
    found = _SCRIPT.search(text)
    scripts = f"'sha256-{base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()}'" if found else "'none'"
    connect = "; connect-src 'self'" if live else ""
    allowed = f"img-src data:; script-src {scripts}; style-src 'unsafe-inline'{connect}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def picture(path: Path) -> str:
    """A PNG file, inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
