"""The policies by name, with their settings as a user writes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .errors import SettingsError
from .policies import Beam, BestOfN, EarlyStop, Policy, SpeculativeRejection, View
from .tree import Ended
from .tree_policies import DVTS, MCTS, REBASE, ForkingSearch, ParticleFilter

POLICIES: dict[str, type[Policy]] = {
    "best-of-n": BestOfN,
    "early-stop": EarlyStop,
    "beam": Beam,
    "speculative-rejection": SpeculativeRejection,
    "dvts": DVTS,
    "rebase": REBASE,
    "particle-filter": ParticleFilter,
    "forking-search": ForkingSearch,
    "mcts": MCTS,
}

PolicyLike = Policy | Callable[[View], np.ndarray] | str


@dataclass(frozen=True)
class FunctionPolicy:
    """A plain function from a `View` to children as a policy. What it drops was pruned; it is asked while candidates are live."""

    function: Callable[[View], np.ndarray]
    reason = Ended.PRUNED
    revisits = False

    def __call__(self, view: View) -> np.ndarray:
        return self.function(view)

    def __repr__(self) -> str:  # without an address: trees name their policy by it
        return f"FunctionPolicy({getattr(self.function, '__qualname__', type(self.function).__name__)})"


def as_policy(policy: PolicyLike) -> Policy:
    """A policy from its name and settings (see `policy_named`), or from a function; a policy as it is. Raises SettingsError."""
    if isinstance(policy, str):
        return policy_named(policy)
    if isinstance(policy, type) or not callable(policy):
        raise SettingsError(
            f"a policy is a name as in beam:width=4, a policy object, or a function of a View; not {policy!r:.80}"
        )
    return policy if isinstance(policy, Policy) else FunctionPolicy(policy)


def policy_named(text: str) -> Policy:
    """A policy from its name and settings, as a user writes them: "beam", "beam:width=4",
    "early-stop:threshold=0.2,slack=0.3". Raises SettingsError.
    """
    name, _, settings = text.partition(":")
    if name not in POLICIES:
        raise SettingsError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
    kind = POLICIES[name]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    chosen: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            raise SettingsError(f"policy {name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        try:
            number = int(value) if known[key].type == "int" else float(value)
        except ValueError:
            number = math.nan
        if not -math.inf < number < math.inf:  # what is off is infinite, and left out
            raise SettingsError(f"policy {name} takes a finite number as {key}, not {value!r}")
        chosen[key] = number
    return kind(**chosen)


def described() -> list[dict[str, Any]]:
    """Every policy as its class declares it, JSON-able: `name`, `about`, and `settings`, each with `name`, `about`, `whole` (in
    whole numbers) and `default` (None: off).
    """
    return [{"name": name, "about": _about(kind), "settings": _settings(kind)} for name, kind in POLICIES.items()]


def _about(kind: type[Policy]) -> str:
    """The first paragraph of its docstring, in one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())


def _settings(kind: type[Policy]) -> list[dict[str, Any]]:
    settings = []
    for field in fields(kind):  # type: ignore[arg-type]
        default: Any = field.default
        known = {"name": field.name, "about": field.metadata["about"], "whole": field.type == "int"}
        settings.append(known | {"default": default if math.isfinite(default) else None})
    return settings
