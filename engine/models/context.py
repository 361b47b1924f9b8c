"""How long a text a model reads with the right numbers."""

from __future__ import annotations

from typing import Any


def longest_text(config: Any, scored: bool = False) -> tuple[int, str]:
    """Tokens of a prompt and its answer together, and what sets the number; from an architecture or a configuration of
    transformers.

    A model is read no farther than its layers see all of a text: where a sliding window ends some layer's sight. With a value
    model (`scored`), which learns from texts that LongRoPE turns by one set of frequencies, no farther than that set is for.
    """
    limits = [(int(config.max_position_embeddings), "this model's context")]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window:
        limits.append((int(window), "the sliding window of this model's attention, beyond which it is not covered,"))
    original = original_context(config)
    if scored and original is not None:
        limits.append((original, "what a value model reads by one set of LongRoPE's frequencies"))
    return min(limits)


def original_context(config: Any) -> int | None:
    """Tokens of the longest text that LongRoPE reads by its first set of frequencies; None where there is no second one."""
    rope = config.rope_parameters
    if rope.get("rope_type") != "longrope" or list(rope["short_factor"]) == list(rope["long_factor"]):
        return None
    return int(rope["original_max_position_embeddings"])
