"""What is compared: policies by the names that a user writes, each with its number of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..engine.errors import GuidedGenError
from ..engine.policies import BestOfN, Policy
from ..engine.policy_names import policy_named
from ..engine.scorers import Scorer, scorer_named

BEST_OF_N = "best-of-n"


class ArmError(GuidedGenError):
    """Arms that cannot be compared."""


@dataclass(frozen=True)
class Arm:
    """A policy, with the name that it was asked for by, and the number of its candidates."""

    name: str
    policy: Policy
    n: int

    @property
    def blind(self) -> bool:
        """Whether it asks no scorer while it decodes, as long as there is no budget to keep."""
        return isinstance(self.policy, BestOfN)


def arms_named(policies: str, n: int, best_of: str = "") -> list[Arm]:
    """From "best-of-n,beam:width=4,early-stop:threshold=0.2,slack=0.3" with n candidates each, and best-of-n with each of the
    numbers in `best_of` ("1,4") below n, which makes its curve. Raises ArmError.
    """
    arms = [Arm(name, policy_named(name), n) for name in split_policies(policies)]
    try:
        curve = sorted({int(number) for number in best_of.split(",") if number.strip()})
    except ValueError:
        raise ArmError(f"numbers of candidates are written like 1,2,4, not {best_of!r}") from None
    if any(number < 1 for number in curve):
        raise ArmError(f"best-of-n has at least 1 candidate, not {curve[0]}")
    arms += [Arm(BEST_OF_N, BestOfN(), number) for number in curve if number < n]
    if len({(arm.name, arm.n) for arm in arms}) < len(arms):
        raise ArmError(f"a policy is named twice in {policies!r}")
    return arms


def split_policies(text: str) -> list[str]:
    """Policies are separated by commas, as are the settings of one: a part that is only a setting belongs to the one before."""
    names: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if "=" in part.partition(":")[0] and names:
            names[-1] += f",{part}"
        else:
            names.append(part)
    if not names:
        raise ArmError("no policy is named")
    return names


def scorers_named(text: str) -> dict[str, Scorer]:
    """From "value,logprob". Raises UnknownScorer, ArmError."""
    names = split_scorers(text)
    return {name: scorer_named(name) for name in names}


def split_scorers(text: str) -> Sequence[str]:
    names = list(filter(None, map(str.strip, text.split(","))))
    if not names or len(set(names)) < len(names):
        raise ArmError(f"scorers are named once each, separated by commas, not {text!r}")
    return names
