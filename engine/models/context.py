"""How long a text a model reads with the right numbers."""

from __future__ import annotations

from typing import Any


def longest_text(config: Any) -> tuple[int, str]:
    """Tokens of a prompt and its answer together, and what sets the number; from an architecture or a configuration of
    transformers.

    A model is read no farther than its layers see all of a text by one rule: where a sliding window ends some layer's sight, or
    where LongRoPE would turn all positions by other frequencies, in the middle of a search.
    """
    limits = [(int(config.max_position_embeddings), "this model's context")]
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window:
        limits.append((int(window), "the sliding window of this model's attention, beyond which it is not covered,"))
    rope = config.rope_parameters
    if rope.get("rope_type") == "longrope" and list(rope["short_factor"]) != list(rope["long_factor"]):
        original = int(rope["original_max_position_embeddings"])
        limits.append((original, "what this model reads by one set of LongRoPE's frequencies"))
    return min(limits)
