"""What a recipe will cost on its machine, before anything runs there: tokens, steps, memory and device hours of every step.

The plan of a recipe says what is known and what is assumed:

    plan:
      machine: {devices: 4, memory_gb: 80, bandwidth_gb_s: 2039, tflops: 312, efficiency: 0.4}
      models: {NAME: {layers: 32, hidden: 3072, heads: 24, kv_heads: 8, head_dim: 128, intermediate: 8192, vocabulary: 200064}}
      data: {problems: 1100, prompt_tokens: 400, answer_tokens: 250, kept: 0.6, tokens_shared: 0.2}

A decode step takes as long as reading the weights and all caches, or as its products, whichever is longer; training takes 2
operations a weight and token in the shared layers, once, and 6 in the tail, each epoch. Both at `efficiency` of the peak.
Numbers are 2 bytes; what Adam tunes takes 16 bytes a weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from ..engine.errors import SettingsError

_BYTES = 2
_TUNED_BYTES = 16  # float32: weight, gradient and Adam's two moments
_ACTIVATIONS = 34  # numbers of the hidden size that a layer keeps for a token until the backward pass (Korthikanti et al., 2022)
_BATCH = 256  # candidates that decode at once on a device
_GB = 1e9
_MOST = 1e18  # of any number in a plan


@dataclass(frozen=True)
class Machine:
    devices: int
    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    efficiency: float = 0.4

    @property
    def operations(self) -> float:
        """A second and device."""
        return self.tflops * 1e12 * self.efficiency

    @property
    def bytes_read(self) -> float:
        """A second and device."""
        return self.bandwidth_gb_s * _GB * self.efficiency


@dataclass(frozen=True)
class Sizes:
    """Of a decoder-only model with gated feed-forward layers and grouped keys."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int

    @property
    def layer_weights(self) -> int:
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def weights(self) -> int:
        """With one matrix for both ends of the vocabulary."""
        return self.layers * self.layer_weights + self.vocabulary * self.hidden

    @property
    def cache_bytes(self) -> int:
        """Keys and values of a token."""
        return 2 * self.layers * self.kv_heads * self.head_dim * _BYTES


@dataclass(frozen=True)
class Data:
    """`kept`: the share of problems with a correct main rollout; `tokens_shared`: the share of the tokens of a problem's rollouts
    that equal prefixes save; `tokens_at_hand`: of trees, prompts included, that are there before the first step."""

    problems: int
    prompt_tokens: int
    answer_tokens: int
    kept: float
    tokens_shared: float = 0.0
    tokens_at_hand: int = 0


@dataclass(frozen=True)
class Estimate:
    """tokens: decoded by a build, trained on by a training; steps: of the optimiser; gigabytes: on each device; disk_gb: the
    states that a training keeps."""

    step: str
    tokens: int
    steps: int | None
    gigabytes: float
    disk_gb: float
    device_hours: float
    fits: bool


def estimates(steps: list[tuple[str, dict[str, Any]]], plan: dict[str, Any]) -> list[Estimate]:
    """One for each build, training and adaptation among `steps`, which are commands with their options. Raises SettingsError."""
    machine, data = _read(Machine, plan.get("machine"), "machine"), _read(Data, plan.get("data"), "data")
    named = plan.get("models", {})
    if not isinstance(named, dict):
        raise SettingsError("the plan needs models, with the sizes of each by its name")
    try:
        models = {name: _read(Sizes, sizes, f"models: {name}") for name, sizes in named.items()}
        return _estimates(steps, machine, models, data)
    except (ArithmeticError, ValueError) as error:  # not finite
        raise SettingsError(f"the numbers of the plan make no estimate: {error}") from error


def _estimates(steps: list[tuple[str, dict[str, Any]]], machine: Machine, models: dict[str, Sizes], data: Data) -> list[Estimate]:
    found = []
    read = data.tokens_at_hand
    for number, (command, options) in enumerate(steps, 1):
        name = f"{number} {command}"
        if command == "build":
            estimate = build_estimate(name, options, _model(models, options), machine, data)
            read += tree_tokens(options, data)
            found.append(estimate)
        elif command == "adapt":
            found.append(adapt_estimate(name, options, machine, models, data))
        elif command == "train":
            found.append(train_estimate(name, options, _model(models, options), machine, read))
    return found


def problem_count(options: dict[str, Any], data: Data) -> int:
    return int(min(options.get("limit", data.problems), data.problems))


def build_tokens(options: dict[str, Any], data: Data) -> int:
    """Tokens that a build decodes: tries, or independent rollouts, and branches, which begin half-way on average."""
    problems = problem_count(options, data)
    independent = options.get("independent", 0)
    own = 1 - data.tokens_shared
    if independent:
        return round(problems * independent * data.answer_tokens * own)
    tries = options.get("trunk-tries", 8) * data.answer_tokens * own
    branches = options.get("forks", 6) * options.get("branches", 6) * data.answer_tokens / 2
    return round(problems * (tries + data.kept * branches))


def tree_tokens(options: dict[str, Any], data: Data) -> int:
    """Tokens of the trees with their prompts: what a training reads."""
    return build_tokens(options, data) + problem_count(options, data) * data.prompt_tokens


def build_estimate(name: str, options: dict[str, Any], sizes: Sizes, machine: Machine, data: Data) -> Estimate:
    tokens = build_tokens(options, data)
    cached = _BATCH * (data.prompt_tokens / 8 + data.answer_tokens / 2) * sizes.cache_bytes  # a prompt serves its problem's tries
    step = max((sizes.weights * _BYTES + cached) / machine.bytes_read, 2 * sizes.weights * _BATCH / machine.operations)
    prefill = problem_count(options, data) * data.prompt_tokens * 2 * sizes.weights / machine.operations
    gigabytes = (sizes.weights * _BYTES + cached) / _GB
    return _estimate(name, tokens, None, gigabytes, 0, tokens / _BATCH * step + prefill, machine)


def adapt_estimate(name: str, options: dict[str, Any], machine: Machine, models: dict[str, Sizes], data: Data) -> Estimate:
    """What `guided-gen adapt` does within its hours, at most all problems: ten answers each, read once."""
    sizes = _model(models, {"model": next(iter(options.get("arguments", [])), None)})
    build = {"independent": 10, "limit": data.problems}
    whole = build_estimate(name, build, sizes, machine, data)
    read = tree_tokens(build, data)
    hours = whole.device_hours + read * 2 * sizes.weights / machine.operations / 3600
    share = min(options.get("hours", 2.0) * machine.devices / hours, 1.0)
    states = round(share * read * sizes.hidden * _BYTES / _GB, 1)
    return replace(whole, tokens=round(share * whole.tokens), disk_gb=states, device_hours=round(share * hours, 2))


def train_estimate(name: str, options: dict[str, Any], sizes: Sizes, machine: Machine, tokens: int) -> Estimate:
    fork = options.get("fork-layer", sizes.layers - 2)
    tail = options.get("tail-layers", sizes.layers - fork)
    epochs, batch = options.get("epochs", 2), options.get("batch-tokens", 8192)
    tuned = tail * sizes.layer_weights
    shared = fork * sizes.layer_weights
    operations = tokens * (2 * shared + 6 * tuned * epochs)
    tuning = _BYTES if options.get("tune", "full") == "lora" else _TUNED_BYTES
    training = tuned * tuning + batch * sizes.hidden * _ACTIVATIONS * tail * _BYTES
    reading = sizes.weights * _BYTES  # the shared layers run once, before the training
    steps = math.ceil(tokens / batch / machine.devices) * epochs
    gigabytes = max(training, reading) / _GB
    states = tokens * sizes.hidden * _BYTES / _GB
    return _estimate(name, tokens, steps, gigabytes, states, operations / machine.operations, machine)


def _estimate(
    name: str, tokens: int, steps: int | None, gigabytes: float, disk: float, seconds: float, machine: Machine
) -> Estimate:
    fits = gigabytes <= 0.9 * machine.memory_gb
    return Estimate(name, tokens, steps, round(gigabytes, 1), round(disk, 1), round(seconds / 3600, 2), fits)


def _model(models: dict[str, Sizes], options: dict[str, Any]) -> Sizes:
    name = options.get("model")
    if name not in models:
        raise SettingsError(f"the plan has no sizes of the model {name!r} under models")
    return models[name]


def _read(kind: Any, given: Any, name: str) -> Any:
    known = {field.name for field in fields(kind)}
    if not isinstance(given, dict) or set(given) - known:
        raise SettingsError(f"the plan needs {name}, with {', '.join(sorted(known))}")
    if not all(isinstance(number, int | float) and 0 <= number < _MOST for number in given.values()):
        raise SettingsError(f"the plan needs numbers from 0 to {_MOST:g} in {name}")
    try:
        return kind(**given)
    except TypeError as error:
        raise SettingsError(f"the plan leaves out some of {name}: {', '.join(sorted(known - set(given)))}") from error
