"""Counter-based random numbers: a draw depends on its key alone, never on the order or the batch in which draws are made.

The key is (seed, problem, stream, position); a stream is one rollout's. The mix is SplitMix64's finalizer (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", 2014), applied once for each part of the key.
"""

from __future__ import annotations

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def uniforms(seed: int | np.ndarray, problem: int | np.ndarray, streams: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Uniform draws in [0, 1), float64, shape [n], one for each pair of `streams` [n] and `positions` [n].

    `seed` and `problem` are one for all or [n], uint64.
    """
    with np.errstate(over="ignore"):
        key = np.full(len(streams), seed & 0xFFFFFFFFFFFFFFFF, np.uint64)
        for part in (problem & 0xFFFFFFFFFFFFFFFF, streams, positions):
            key = _mix((key + _GOLDEN) ^ _mix(np.asarray(part).astype(np.uint64) + _GOLDEN))
    return (key >> np.uint64(11)).astype(np.float64) * 2.0**-53


def path_keys(parents: list[int], tokens: list[int], known: list[int]) -> None:
    """Extend `known` with a 64-bit key for every further node: a hash of the tokens on its path, whatever its number in the
    tree.
    """
    for node in range(len(known), len(parents)):
        above = known[parents[node]] if parents[node] >= 0 else 0
        key = (above ^ (tokens[node] + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        known.append(key ^ (key >> 31))


def problem_key(prompt_hash: str) -> int:
    """The `problem` part of the key: the first 8 bytes of the prompt's hash."""
    return int(prompt_hash[:16], 16)
