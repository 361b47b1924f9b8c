"""Where another server is."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ..errors import SettingsError


@dataclass(frozen=True)
class Endpoint:
    """`base_url` ends in /v1 as a rule; `key` is presented where there is one; answers have at most `max_tokens` tokens, None: as
    many as the server allows. Raises SettingsError for what is no address.
    """

    base_url: str
    key: str | None = field(default=None, repr=False)
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise SettingsError(f"a server's address is as http://localhost:11434/v1, not {self.base_url!r:.80}")
