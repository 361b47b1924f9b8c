"""Fitted curves of early stop in a value model's folder, and the policy that a user means by `early-stop:lost=0.05`.

`early_stop.json` holds one threshold curve for each share of correct rollouts that may be lost (early_stop_fit.py), and what they
were fitted on. They belong to the weights beside them, and to checks every so many tokens.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.files import write_atomically
from ..engine.policies import EarlyStop, Policy, ThresholdCurve
from ..engine.policy_names import policy_named
from .made_for import EARLY_STOP, ValueModelError, local_folder, value_sha256

_FORMAT = 1


DEFAULT_LOST = "0.1"
"""The share of the correct answers that may be lost where nobody says."""


def save_curves(value: Path, figures: dict[str, Any]) -> Path:
    """Write the figures of `early_stop_fit.fit_early_stop` into the folder of the value model that they are of."""
    path = value / EARLY_STOP
    write_atomically(path, json.dumps({"format": _FORMAT, "value_sha256": value_sha256(value), **figures}, indent=1) + "\n")
    return path


def read_curves(value: Path) -> dict[str, Any]:
    """What `save_curves` wrote. Raises ValueModelError where there is nothing, or it is of other weights."""
    try:
        saved: dict[str, Any] = json.loads((value / EARLY_STOP).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueModelError(
            f"{value} holds no fitted curves of early stop; guided-gen bench fit-early-stop makes them"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueModelError(f"{value / EARLY_STOP} cannot be read: {error}") from error
    if saved.get("format") != _FORMAT:
        raise ValueModelError(f"{value / EARLY_STOP} is of a format that this version does not read")
    if saved["value_sha256"] != value_sha256(value):
        raise ValueModelError(f"{value / EARLY_STOP} was fitted to other weights than are in this folder; fit the curves again")
    return saved


def chosen_policy(text: str, scorers: Collection[str], value: str | Path | None, check_every: int | None) -> Policy:
    """`policy_named`, and besides "early-stop:lost=0.05" for a curve that was fitted to the value model in `value`; "early-stop"
    alone is that of `DEFAULT_LOST`, since without a threshold nothing would ever stop.

    `scorers` are the names of all that will guide it; `check_every`: tokens between two checks, None for checks at lines. Raises
    SettingsError, and ValueModelError where there is no such curve or its promise does not hold for this search.
    """
    policy, share = parsed_policy(text)
    if share is None:
        return policy
    assert isinstance(policy, EarlyStop)
    if value is None:
        instead = ", or set a threshold or a slack" if ":" not in text else ""
        raise ValueModelError(f"{text} takes a value model with fitted curves: name its folder with --value{instead}")
    if set(scorers) != {"value"}:
        raise ValueModelError(f"{text} is a threshold on the value model's values: it goes with --scorer value alone")
    return replace(policy, threshold=_curve(read_curves(_folder(value)), share, check_every))


def parsed_policy(text: str) -> tuple[Policy, str | None]:
    """As far as it is known without a value model, and of "early-stop:lost=0.05" the share of its curve. Raises SettingsError and
    ValueModelError.
    """
    name, _, settings = text.partition(":")
    if text == "early-stop":
        return policy_named(text), DEFAULT_LOST
    parts = settings.split(",")
    shares = [part for part in parts if part.partition("=")[0] == "lost"]
    if name != "early-stop" or not shares:
        return policy_named(text), None
    rest = ",".join(part for part in parts if part not in shares)
    if "threshold=" in rest or len(shares) > 1:
        raise ValueModelError("early stop takes one threshold: either threshold=... or one lost=...")
    return policy_named(f"{name}:{rest}"), shares[0].partition("=")[2]


def _curve(saved: dict[str, Any], share: str, check_every: int | None) -> ThresholdCurve:
    try:
        found = next((curve for curve in saved["curves"] if curve["lost"] == float(share)), None)
    except ValueError:
        raise ValueModelError(f"policy early-stop takes a number as lost, not {share!r}") from None
    if found is None:
        held = ", ".join(str(curve["lost"]) for curve in saved["curves"])
        raise ValueModelError(f"this value model holds no curve for lost={share}; it holds {held}")
    curve = ThresholdCurve(tuple(found["tokens"]), tuple(found["values"]), fitted_every=saved["check_every"])
    if not curve.serves(check_every):
        when = "at lines" if check_every is None else f"every {check_every} tokens"
        raise ValueModelError(
            f"the curves were fitted for checks every {curve.fitted_every} tokens, or every multiple of it, not {when}; "
            "guided-gen bench fit-early-stop --check-every 1 makes curves for any checks"
        )
    return curve


def _folder(value: str | Path) -> Path:
    if Path(value).is_dir():
        return Path(value)
    return local_folder(value)  # a repository of the hub
