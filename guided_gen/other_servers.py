"""What a search can do with the answers of another server, which come whole: no forks, no values, no distributions."""

from __future__ import annotations

from pathlib import Path

from .engine.errors import SettingsError
from .engine.openai_backend.endpoint import Endpoint
from .engine.policies import BestOfN, EarlyStop, SpeculativeRejection
from .engine.policy_names import FunctionPolicy, PolicyLike, as_policy
from .engine.scorers import Scorer, self_certainty
from .engine.scorers import value as value_scorer
from .known_values import AUTO

_NEVER_FORK = (BestOfN, EarlyStop, SpeculativeRejection, FunctionPolicy)


def as_endpoint(endpoint: Endpoint | None, precision: str = AUTO, value: str | Path | None = AUTO) -> Endpoint:
    """The server to ask. Raises SettingsError where none is named, or where it would have to do what only a model here can."""
    if endpoint is None:
        raise SettingsError(
            "the backend openai asks another server: name its address, as in --base-url http://localhost:11434/v1"
        )
    if precision != AUTO:
        raise SettingsError("another server chooses its precision itself")
    if value not in (AUTO, None):
        raise SettingsError("a value model reads the generator's states, and another server does not tell them")
    return endpoint


def check_whole_answers(policy: PolicyLike, scorer: Scorer) -> None:
    """Raise SettingsError, which says what is missing, for a search that needs more than whole answers."""
    if not isinstance(as_policy(policy), _NEVER_FORK):
        name = policy if isinstance(policy, str) else type(policy).__name__
        raise SettingsError(
            f"the policy {name} begins candidates amid others, and another server's answers cannot be forked: take best-of-n, "
            "early-stop or speculative-rejection, or a model that runs here"
        )
    if scorer in (value_scorer, self_certainty):
        what = "values" if scorer is value_scorer else "distributions"
        raise SettingsError(f"another server tells no {what}: compare candidates by logprob or length")
