"""Platt's method (1999): a scale and a shift of the logits, fitted where the values will be used.

Fitted on independent rollouts of validation problems, unfiltered, each rollout counting once (times its multiplicity) over its
tokens: that is what a search meets. The kept trees are a biased population, a correct trunk and branches that begin like it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

_LEAST_SCALE = 0.01
_PRIOR = 1e-4
"""Precision of a prior around (1, 0), in units of the mean loss: it decides only where the data cannot (perfect separation)."""


def fit_platt(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray, rising: bool = True) -> tuple[float, float]:
    """(scale, shift) that minimise the weighted cross entropy of sigmoid(scale * logit + shift). Arrays [N], labels in [0, 1].

    `rising`: keep the scale above 0, so that little or bad data can flatten the values but never turn their order around.
    """
    share = weights / weights.sum()

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift = parameters
        z = scale * logits + shift
        error = share * (expit(z) - labels)
        loss = (share * cross_entropy(z, labels)).sum() + _PRIOR / 2 * ((scale - 1) ** 2 + shift**2)
        slope = (error * logits).sum() + _PRIOR * (scale - 1)
        return float(loss), np.asarray([slope, error.sum() + _PRIOR * shift])

    bounds = [(_LEAST_SCALE if rising else None, None), (None, None)]
    scale, shift = minimize(objective, np.asarray([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(scale), float(shift)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross entropy of sigmoid(logits), elementwise, in nats."""
    loss: np.ndarray = np.logaddexp(0, logits) - labels * logits
    return loss
