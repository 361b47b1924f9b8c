"""Which policy a search of a server has: the client's, or the server's own as far as it serves that search."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Protocol

from ..engine.policies import BestOfN, EarlyStop, Policy, ThresholdCurve
from ..engine.policy_names import policy_named
from ..engine.scorers import Scorer, value
from .errors import ApiError

MOST = 1000  # of a policy's own numbers: simulations, widths


class Wishes(Protocol):
    """What a client said of the search."""

    @property
    def scorer(self) -> str | None: ...

    @property
    def check_every(self) -> int | None: ...

    @property
    def check_at(self) -> str | None: ...


def asked_policy(text: str) -> Policy:
    """The policy of this name. Raises ApiError, SettingsError."""
    policy = policy_named(text)
    if any(MOST < number < math.inf for number in asdict(policy).values()):  # type: ignore[call-overload]
        raise ApiError(400, f"a policy's numbers may be up to {MOST} here", param="guided.policy")
    return policy


def own_policy(policy: Policy, guided: Wishes, scorer: Scorer, check_every: int | None) -> Policy:
    """The server's own policy; best-of-n for a search that its fitted curve says nothing of. Raises ApiError where it is the
    client that wants the search so. `check_every` None: at lines.
    """
    curve = policy.threshold if isinstance(policy, EarlyStop) else None
    if not isinstance(curve, ThresholdCurve) or curve.fitted_every is None:
        return policy
    if scorer is not value:
        if guided.scorer is not None:
            told = f"this server's policy stops by value; name one for the scorer {guided.scorer}"
            raise ApiError(400, told, param="guided.scorer")
        return BestOfN()
    if not curve.serves(check_every):
        if guided.check_every or guided.check_at:
            told = f"this server's policy takes checks every {curve.fitted_every} tokens or a multiple; name one for other checks"
            raise ApiError(400, told, param="guided.check_at" if check_every is None else "guided.check_every")
        return BestOfN()
    return policy
