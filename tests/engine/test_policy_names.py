"""Policies by name, with settings."""

from __future__ import annotations

import pytest

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.policies import Beam, EarlyStop
from guided_gen.engine.policy_names import POLICIES, policy_named
from guided_gen.engine.tree_policies import DVTS, MCTS


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_can_be_named(name: str) -> None:
    assert type(policy_named(name)) is POLICIES[name]


def test_a_policy_is_named_with_its_settings() -> None:
    assert policy_named("beam:width=7") == Beam(7)
    assert policy_named("early-stop:threshold=0.2,slack=0.5") == EarlyStop(0.2, 0.5)
    assert policy_named("dvts:width=2,subtrees=3") == DVTS(3, 2)
    assert policy_named("mcts:exploration=0.5,simulations=4") == MCTS(0.5, 4)


SENSELESS = [
    "greedy",
    "beam:height=3",
    "beam:width=x",
    "beam:width=0",
    "speculative-rejection:alpha=1",
    "dvts:subtrees=0",
    "rebase:temperature=0",
    "particle-filter:temperature=-1",
    "forking-search:total=0.5",
    "mcts:simulations=0",
    "forking-search:total=nan",
    "forking-search:total=inf",
    "mcts:exploration=nan",
    "mcts:exploration=1e999",
    "early-stop:threshold=nan",
    "early-stop:slack=-inf",
    "rebase:temperature=inf",
]


@pytest.mark.parametrize("text", SENSELESS)
def test_senseless_policies_are_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        policy_named(text)
