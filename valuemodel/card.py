"""What a trained value model's folder says of itself: a model card, and which problems its training knew."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..engine.files import write_atomically
from .made_for import MadeFor, ValueModelError

CARD, KNOWN = "README.md", "known_problems.json"
_TEXT = """
# A value model of {model}

After every generated token it estimates the probability that this partial answer ends up correct. {shape}

It fits `{model}` (SHA-256 `{sha256}`) in {precision} with the prompt template `{template}`{text}; with any other weights,
precision or prompts it is refused.

    guided-gen solve problem.txt --model {model} --value DIR

## Data

{training_problems} problems with {training_tokens} tokens of judged answers; {validation_problems} others chose the best step
and the calibration. `{known}` names them all.

## Training

`guided-gen train`, {steps} steps. Validation loss {loss:.4f} nats; calibration: scale {scale:.2f}, shift {shift:.2f}, at a base
rate of {base_rate:.1%}. `config.json` has every setting.

## Results

None yet: `guided-gen evaluate --value DIR --data DATA --out REPORT`, on problems that are in neither list, makes them.

## Limits

Its probabilities are those of answers to problems like those that it was calibrated on, and of passing their tests.
"""


def write_card(folder: Path, made_for: MadeFor, shape: str, record: dict[str, Any], loss: float) -> None:
    """README.md by huggingface_hub's ModelCard, from the `record` of the training; a card that is there stays."""
    from huggingface_hub import ModelCard, ModelCardData

    if (folder / CARD).exists():
        return
    about = ModelCardData(
        base_model=made_for.model, library_name="guided-gen", tags=["value-model", "process-reward", "code"]
    ).to_yaml()
    text = _TEXT.format(
        model=made_for.model,
        sha256=made_for.model_sha256[:12],
        precision=made_for.precision,
        template=made_for.template,
        text=f", and reads the text of answers of `{made_for.generator}`" if made_for.generator_sha256 else "",
        shape=shape,
        known=KNOWN,
        loss=loss,
        **{name: record[name] for name in ("training_problems", "training_tokens", "validation_problems", "steps")},
        **record["calibration"],
    )
    ModelCard(f"---\n{about}\n---\n{text}").save(folder / CARD)


def write_results(folder: Path, text: str) -> None:
    """Put `text` under the card's heading Results, in the place of what stands there. Raises ValueModelError without a card."""
    path = folder / CARD
    try:
        before, _, rest = path.read_text(encoding="utf-8").partition("## Results\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueModelError(f"{path} is no model card: {error}") from error
    limits = rest.find("\n## Limits")
    if limits < 0:
        raise ValueModelError(f"{path} is no model card of guided-gen train")
    write_atomically(path, f"{before}## Results\n\n{text}\n{rest[limits:]}")


def write_known(folder: Path, training: Iterable[str], validation: Iterable[str]) -> None:
    """The ids of the problems that a training knew."""
    known = {"training": sorted(set(training)), "validation": sorted(set(validation))}
    write_atomically(folder / KNOWN, json.dumps(known) + "\n")


def known_problems(folder: Path) -> dict[str, set[str]]:
    """What `write_known` wrote; empty where nobody did."""
    if not (folder / KNOWN).is_file():
        return {"training": set(), "validation": set()}
    return {name: set(ids) for name, ids in json.loads((folder / KNOWN).read_text(encoding="utf-8")).items()}
