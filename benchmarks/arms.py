"""What is compared: policies by the names that a user writes, each with its number of candidates."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engine.errors import SettingsError
from ..engine.policies import BestOfN, Policy
from ..engine.scorers import VALUE
from ..valuemodel.early_stop import chosen_policy, parsed_policy

BEST_OF_N = "best-of-n"


@dataclass(frozen=True)
class Arm:
    """A policy, with the name that it was asked for by, and the number of its candidates. `guides`: the only scorers that it goes
    with; all where it is empty."""

    name: str
    policy: Policy
    n: int
    guides: tuple[str, ...] = ()

    @property
    def settings(self) -> str:
        """A hash of what the policy does: equal names with other settings, such as curves fitted anew, are not one arm."""
        return hashlib.sha256(repr(self.policy).encode()).hexdigest()[:12]

    def blind(self, budget: int | None) -> bool:
        """Whether it asks no scorer while it decodes."""
        return isinstance(self.policy, BestOfN) and budget is None

    def guided_by(self, scorers: Iterable[str]) -> list[str]:
        return [scorer for scorer in scorers if not self.guides or scorer in self.guides]


def arms_named(policies: str, n: int, best_of: str, value: Path | None, check_every: int) -> list[Arm]:
    """From "best-of-n,beam:width=4,early-stop:threshold=0.2,slack=0.3" with n candidates each, and best-of-n with each of the
    numbers in `best_of` ("1,4") below n, which makes its curve. Raises SettingsError, SettingsError, ValueModelError.

    `value` and `check_every`: for early-stop:lost=..., which is fitted to a value model.
    """
    arms = []
    for name in split_policies(policies):
        fitted = () if parsed_policy(name)[1] is None else (VALUE,)
        arms.append(Arm(name, chosen_policy(name, fitted, value, check_every), n, fitted))
    try:
        curve = sorted({int(number) for number in best_of.split(",") if number.strip()})
    except ValueError:
        raise SettingsError(f"numbers of candidates are written like 1,2,4, not {best_of!r}") from None
    if any(number < 1 for number in curve):
        raise SettingsError(f"best-of-n has at least 1 candidate, not {curve[0]}")
    arms += [Arm(BEST_OF_N, BestOfN(), number) for number in curve if number < n]
    if len({(arm.name, arm.n) for arm in arms}) < len(arms):
        raise SettingsError(f"a policy is named twice in {policies!r}")
    return arms


def check_guides(arms: Iterable[Arm], scorers: Sequence[str]) -> None:
    """Raise SettingsError where none of `scorers` may guide an arm."""
    for arm in arms:
        if not arm.guided_by(scorers):
            raise SettingsError(f"{arm.name} goes with the scorer {' or '.join(arm.guides)} alone, which is not among the guides")


def split_policies(text: str) -> list[str]:
    """Policies are separated by commas, as are the settings of one: a part that is only a setting belongs to the one before.
    Raises SettingsError.
    """
    names: list[str] = []
    for part in filter(None, map(str.strip, text.split(","))):
        if "=" in part.partition(":")[0] and names:
            names[-1] += f",{part}"
        else:
            names.append(part)
    if not names:
        raise SettingsError("no policy is named")
    return names


def split_scorers(text: str) -> list[str]:
    """From "value,logprob". Raises SettingsError."""
    names = list(filter(None, map(str.strip, text.split(","))))
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"scorers are named once each, separated by commas, not {text!r}")
    return names
