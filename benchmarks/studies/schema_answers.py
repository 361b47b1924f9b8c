"""Answers held to random JSON schemas: how many are JSON of their schema, and what the masks cost of the time.

python -m guided_gen.benchmarks.studies.schema_answers [--schemas 200] [--n 4] [--temperature 0.8] [--model NAME] [--json]

Without --model the weights are random, and only the tokenizer is the default model's: such a model says nothing that its schema
does not make it say. Schemas are bounded (lengths, items, no further fields), so that each has an end. They are of the kinds of
public suites: objects with required and optional fields, nested; arrays; enums and constants; bounded integers and numbers;
lengths, patterns and formats of texts; alternatives; references. Answers are checked by another library than the one that holds
them.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import numpy as np

from guided_gen.engine.errors import SettingsError
from guided_gen.engine.grammar import Grammar
from guided_gen.engine.models.files import resolve_model
from guided_gen.engine.models.known import DEFAULT_MODEL
from guided_gen.engine.models.tokenizer_loading import load_tokenizer
from guided_gen.generator import GuidedGenerator

ASKED = [{"role": "user", "content": "Give an example."}]
PATTERNS = ("^[a-z]{2,6}$", "^[A-Z]{3}-[0-9]{4}$", "^(north|south) [0-9]{1,2}$", "^#[0-9a-f]{6}$")
FORMATS = ("date", "date-time", "uuid", "ipv4", "time")
NAMES = ("name", "size", "tags", "when", "where", "kind", "parts", "note", "größe", "a b")


class TimedGrammar(Grammar):
    """A grammar that knows how long it has taken."""

    def __init__(self, grammar: Grammar) -> None:
        self.__dict__ = dict(grammar.__dict__)
        self.seconds = 0.0

    def after(self, matcher: Any, token_ids: Any) -> Any:
        begun = time.perf_counter()
        try:
            return super().after(matcher, token_ids)
        finally:
            self.seconds += time.perf_counter() - begun

    def allowed(self, matcher: Any) -> np.ndarray:
        begun = time.perf_counter()
        try:
            return super().allowed(matcher)
        finally:
            self.seconds += time.perf_counter() - begun


def random_schema(draw: random.Random) -> dict[str, Any]:
    """An object's schema, with a definition that it may refer to."""
    schema = _object(draw, 0)
    return schema | {"$defs": {"shared": _object(draw, 2)}}


def _object(draw: random.Random, depth: int) -> dict[str, Any]:
    names = draw.sample(NAMES, draw.randint(1, 4))
    return {
        "type": "object",
        "properties": {name: _schema(draw, depth + 1) for name in names},
        "required": [name for name in names if draw.random() < 0.7],
        "additionalProperties": False,
    }


def _schema(draw: random.Random, depth: int) -> dict[str, Any]:
    leaves = (_integer, _number, _text, _pattern, _format, _enum, _constant, _simple)
    inner = (_object, _array, _any_of, _reference)
    kind = draw.choice(leaves if depth > 2 else leaves + inner)
    return kind(draw, depth)


def _integer(draw: random.Random, depth: int) -> dict[str, Any]:
    least = draw.randint(-1000, 1000)
    return {"type": "integer", "minimum": least, "maximum": least + draw.choice((0, 7, 500))}


def _number(draw: random.Random, depth: int) -> dict[str, Any]:
    least = draw.randint(-50, 50)
    return {"type": "number", draw.choice(("minimum", "exclusiveMinimum")): least, "maximum": least + draw.choice((1, 90))}


def _text(draw: random.Random, depth: int) -> dict[str, Any]:
    least = draw.randint(0, 5)
    return {"type": "string", "minLength": least, "maxLength": least + draw.randint(0, 8)}


def _pattern(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "string", "pattern": draw.choice(PATTERNS)}


def _format(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": "string", "format": draw.choice(FORMATS)}


def _enum(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"enum": draw.sample(["red", "très bien", 3, -0.5, None, True, 'a"b', ""], draw.randint(1, 5))}


def _constant(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"const": draw.choice(["v1", 7, False, {"a": [1]}])}


def _simple(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"type": draw.choice(["boolean", "null", ["boolean", "null"]])}


def _array(draw: random.Random, depth: int) -> dict[str, Any]:
    least = draw.randint(0, 2)
    return {"type": "array", "items": _schema(draw, depth + 1), "minItems": least, "maxItems": least + draw.randint(0, 3)}


def _any_of(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [_schema(draw, depth + 1) for _ in range(draw.randint(2, 3))]}


def _reference(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"$ref": "#/$defs/shared"} if depth < 3 else _enum(draw, depth)


def random_model(folder: Path) -> str:
    """A folder with a small model of random weights that has the default model's tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = load_tokenizer(resolve_model(DEFAULT_MODEL))
    tokenizer.save(folder)
    torch.manual_seed(0)
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096}
    end = tokenizer.eos_token_id
    Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), eos_token_id=end, pad_token_id=end, **shape)).save_pretrained(folder)
    return str(folder)


def answers_of(generator: GuidedGenerator, schema: dict[str, Any], **settings: Any) -> Counter[str]:
    """How many answers are valid, invalid and cut (`refused`: the schema, which cannot be held), and times in microseconds."""
    found: Counter[str] = Counter()
    try:
        grammar = TimedGrammar(generator.grammars.json(schema))
    except SettingsError:
        return Counter(refused=1)
    check = jsonschema_rs.validator_for(schema, validate_formats=True)
    solution = generator.solve(ASKED, grammar=grammar, **settings)
    for candidate in solution.candidates:
        kind = "cut" if not candidate.complete else "valid" if _holds(check, candidate.text) else "invalid"
        found[kind] += candidate.multiplicity
    found["mask_us"] += round(grammar.seconds * 1e6)
    found["all_us"] += round(solution.seconds * 1e6)
    found["tokens"] += solution.decoded_tokens
    return found


def _holds(check: Any, text: str) -> bool:
    try:
        return bool(check.is_valid(json.loads(text)))
    except ValueError:
        return False


@click.command()
@click.option("--model", default=None, help="A model as it is, in the place of random weights.")
@click.option("--schemas", default=200, show_default=True)
@click.option("--n", default=4, show_default=True, help="Candidates for each schema.")
@click.option("--tokens", default=1500, show_default=True, help="Longest answer.")
@click.option("--temperature", default=0.8, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(model: str | None, schemas: int, n: int, tokens: int, temperature: float, seed: int, as_json: bool) -> None:
    """Draw schemas, decode answers to each, check them."""
    with tempfile.TemporaryDirectory() as folder:
        found: Counter[str] = Counter()
        with GuidedGenerator.from_pretrained(model or random_model(Path(folder)), precision="auto", value=None) as generator:
            for i in range(schemas):
                schema = random_schema(random.Random(f"{seed} {i}"))
                one = answers_of(generator, schema, n=n, max_new_tokens=tokens, seed=i, temperature=temperature)
                found += one
                found["held"] += not one["refused"]
    figures = {
        "schemas": schemas,
        **{name: found[name] for name in ("held", "refused", "valid", "invalid", "cut", "tokens")},
        "mask_us_per_token": round(found["mask_us"] / max(found["tokens"], 1), 1),
        "mask_share_of_time": round(found["mask_us"] / max(found["all_us"], 1), 4),
    }
    click.echo(json.dumps(figures) if as_json else "\n".join(f"{name:>20}: {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
