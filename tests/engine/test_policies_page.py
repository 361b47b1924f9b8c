"""docs/policies.md: its example runs, and its table is of the policies that there are."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policy_names import POLICIES
from guided_gen.engine.scorers import value
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.tree import Ended

from .made_up import MadeUpModel, leaves_with

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")


def test_the_example_stops_what_is_below_the_mean() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    defined: dict[str, Any] = {"__name__": "example"}
    exec(example, defined)
    policy = defined["AboveTheMean"]()
    assert policy(leaves_with([0.1, 0.9, 0.5, 0.4])).tolist() == [0, 1, 1, 0, 0]
    search = Search(MadeUpModel(), Prompt([1]), SearchSettings(n=8, max_new_tokens=9, policy=policy, scorer=value, check_every=2))
    run(MadeUpModel(), [search])
    assert {Ended.STOPPED, Ended.LENGTH} == set(search.tree.rollouts.ended.tolist())


def test_the_table_names_every_policy_with_its_settings_and_defaults() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", PAGE, re.MULTILINE))
    assert list(rows) and set(rows) == set(POLICIES)
    for name, kind in POLICIES.items():
        shown = dict(re.findall(r"`(\w+)` \(([^)]*)\)", rows[name]))
        shown.pop("lost", None)  # a threshold that is looked up, no setting of the policy itself
        defaults = {field.name: getattr(kind(), field.name) for field in fields(kind)}  # type: ignore[arg-type]
        for setting, default in defaults.items():
            assert shown[setting] == ("none" if np.isinf(default) else f"{default:g}")
        assert set(shown) == set(defaults)
