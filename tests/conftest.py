"""Settings for all tests: no test depends on how fast the machine is, or on its user's own defaults."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

os.environ["GUIDED_GEN_CONFIG"] = "/nonexistent/guided-gen.toml"
