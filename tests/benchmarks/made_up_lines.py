"""Made-up results: searches of problems that do not exist, with answers nobody wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

RUN: dict[str, Any] = {
    "kind": "judged",
    "model": "made-up",
    "model_sha256": "0" * 64,
    "judge": "none",
    "together": 4,
    "value": "values",
    "value_sha256": "1" * 64,
}
SCORERS = ["logprob", "value"]


def answer(
    verdict: str | None,
    scores: dict[str, float | None],
    examples: bool | None = None,
    multiplicity: int = 1,
    program: str = "pass",
) -> dict[str, Any]:
    """A candidate; without a verdict one that was pruned."""
    return {
        "program": program,
        "ended": "pruned" if verdict is None else "eos",
        "multiplicity": multiplicity,
        "verdict": verdict,
        "examples": examples,
        "scores": scores,
        "trace": [0.5, None, scores["value"]],
    }


def search(
    problem: str, candidates: list[dict[str, Any]], policy: str = "best-of-n", n: int = 16, scorer: str = "", **more: Any
) -> dict[str, Any]:
    made = {
        "problem": problem,
        "policy": policy,
        "n": n,
        "scorer": scorer,
        "blind": policy == "best-of-n",
        "settings": policy,
        "data": f"data of {problem}",
        "tests_kind": "full",
        "difficulty": "introductory",
        "format": "call-based",
        "cost": {"tokens": 100.0, "passes": 40, "seconds": 10.0, "scoring_seconds": 1.0, "peak_memory_mb": 900.0},
        "ranking_costs": {},
        "trace_of": "value",
        "scorers": SCORERS,
        "examples_seconds": None,
        "candidates": candidates,
    }
    return made | more


def random_searches(problems: int, seed: int = 0) -> list[dict[str, Any]]:
    """Best-of-n at four sizes and two policies on problems of every kind; policies cost less, values are worth something."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(problems):
        kind = "example" if number % 5 == 4 else "full"
        about = {
            "tests_kind": kind,
            "difficulty": ("introductory", "interview")[number % 2],
            "format": ("call-based", "standard input")[number % 3 == 0],
            "examples_seconds": 0.3 if kind == "full" else None,
        }
        rate = rng.uniform(0, 0.7)
        arms = [("best-of-n", n, "") for n in (1, 4, 8, 16)] + [("beam:width=4", 16, "value"), ("rebase", 16, "value")]
        for policy, n, guide in arms:
            saved = 1.0 if policy == "best-of-n" else 0.5
            candidates = []
            for _ in range(max(n // 2, 1)):
                right = bool(rng.random() < rate)
                logprob, value = float(rng.normal(-0.3 + 0.1 * right, 0.2)), float(rng.beta(2 + 3 * right, 4))
                verdict = None if saved < 1 and rng.random() < 0.5 else "passed" if right else "wrong_answer"
                shown = bool(right or rng.random() < 0.3) if kind == "full" and verdict else None
                program = f"def solve(x):\n    # {'right' if right else 'wrong'} <b>&\n    return x + {rng.integers(99)}\n"
                made = answer(verdict, {"logprob": logprob, "value": value}, shown, int(rng.integers(1, 3)), program)
                length = int(rng.integers(20, 140))
                made["trace"] = np.round(np.linspace(0.3, value, length), 3).tolist()
                candidates.append(made)
            cost = {
                "tokens": 100.0 * n * saved,
                "passes": 120.0,
                "seconds": (4 + 1.2 * n) * saved,
                "scoring_seconds": 0.4,
                "peak_memory_mb": 900.0 + n,
            }
            lines.append(search(f"made/{number}", candidates, policy, n, guide, cost=cost, **about))
    return lines


def write_lines(path: Path, lines: list[dict[str, Any]], run: dict[str, Any] | None = None) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"run": run or RUN}, *lines]))
    return path
