"""The policies by name, with their settings as a user writes them."""

from __future__ import annotations

import math
from dataclasses import fields

from .policies import Beam, BestOfN, EarlyStop, Policy, PolicyError, SpeculativeRejection
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


def policy_named(text: str) -> Policy:
    """A policy from its name and settings, as a user writes them: "beam", "beam:width=4",
    "early-stop:threshold=0.2,slack=0.3".
    """
    name, _, settings = text.partition(":")
    if name not in POLICIES:
        raise PolicyError(f"there is no policy {name!r}; there are {', '.join(POLICIES)}")
    kind = POLICIES[name]
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    chosen: dict[str, float] = {}
    for setting in filter(None, settings.split(",")):
        key, _, value = setting.partition("=")
        if key not in known:
            raise PolicyError(f"policy {name} has no setting {key!r}; it has {', '.join(known) or 'none'}")
        try:
            number = int(value) if known[key].type == "int" else float(value)
        except ValueError:
            number = math.nan
        if not -math.inf < number < math.inf:  # what is off is infinite, and left out
            raise PolicyError(f"policy {name} takes a finite number as {key}, not {value!r}")
        chosen[key] = number
    return kind(**chosen)
