"""What `guided-gen solve` says of a solution: a summary in one line, the example that its program fails, or all as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from ..failed_example import failure_rows
from ..solution import Candidate, Likelihood, Solution

INCOMPLETE = "the best answer is incomplete"
COLUMNS = 80
"""How wide a summary is at most."""


def summary(solution: Solution) -> str:
    """What was grown, what it cost, how many pass the examples, and how likely the best is correct, in lines of `COLUMNS`."""
    samples = sum(candidate.multiplicity for candidate in solution.candidates)
    complete = sum(candidate.multiplicity for candidate in solution.candidates if candidate.complete)
    repairs = sum(candidate.multiplicity for candidate in solution.candidates if candidate.turn)
    parts = [
        f"{samples} candidates{f' ({repairs} of them repairs)' if repairs else ''}, "
        f"{complete} complete, {len(solution.candidates)} distinct",
        f"{solution.decoded_tokens} tokens in {solution.seconds:.1f} s",
    ]
    if not solution.examples:
        parts.append("no examples found in the statement")
    else:
        examples = "example" if solution.examples == 1 else f"{solution.examples} examples"
        if solution.passing is None:
            parts.append(f"none was complete, to be run on the {examples}")
        else:
            parts.append(f"{solution.passing} pass the {examples} (isolation: {solution.isolation})")
    if solution.best.likelihood is not None:
        parts.append(likelihood_text(solution.best.likelihood))
    if not solution.best.complete:
        parts.append(INCOMPLETE)
    elif not solution.best.parses:
        parts.append("the best answer is no valid Python")
    lines = parts[:1]
    for part in parts[1:]:
        together = f"{lines[-1]} · {part}"
        lines[-1:] = [together] if len(together) <= COLUMNS else [lines[-1], part]
    return "\n".join(lines)


def likelihood_text(known: Likelihood) -> str:
    """How likely the best program is to be correct, and how many others do the same."""
    agree = "" if known.agreement is None else f", {known.agreement:.0%} of the others do the same"
    return f"the best is correct with probability {known.probability:.2f}{agree}"


def failed_example(solution: Solution) -> str:
    """The first example that the best program fails, what was expected and what came."""
    best, problem = solution.best, solution.problem
    failure, examples = best.failure, best.examples
    assert failure is not None and examples is not None and problem is not None
    lines = [f"The program passes {examples[0]} of {examples[1]} examples. It fails example {failure.index + 1}:"]
    for name, text in failure_rows(problem, failure):
        first, *others = text.rstrip("\n").split("\n")
        lines += [f"  {name:<8}  {first}", *(" " * 12 + other for other in others)]
    return "\n".join(lines)


def as_json(solution: Solution) -> str:
    """Every candidate, best first, and what the search was."""
    return json.dumps(
        {
            "program": solution.program,
            "prompt_tokens": solution.prompt_tokens,
            "decoded_tokens": solution.decoded_tokens,
            "seconds": round(solution.seconds, 3),
            "isolation": solution.isolation,
            "metadata": solution.tree.metadata,
            "candidates": [_candidate(candidate) for candidate in solution.candidates],
        }
    )


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "program": candidate.program,
        "text": candidate.text,
        "score": _number(candidate.score),
        "ended": candidate.ended.name.lower(),
        "multiplicity": candidate.multiplicity,
        "parses": candidate.parses,
        "turn": candidate.turn,
        "likelihood": None if candidate.likelihood is None else asdict(candidate.likelihood),
        "examples": None if candidate.examples is None else {"passed": candidate.examples[0], "shown": candidate.examples[1]},
        "failure": None if candidate.failure is None else asdict(candidate.failure),
        "token_ids": candidate.token_ids.tolist(),
        "logprobs": [_number(x) for x in candidate.logprobs.tolist()],
        "values": [_number(x) for x in candidate.values.tolist()],
    }


def _number(x: float) -> float | None:
    """JSON has no NaN."""
    return x if x == x else None
