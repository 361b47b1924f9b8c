"""Training: the loop over packed trees, above states that were computed once.

    loss = sum over generated tokens of weight * BCE(logit, label) / sum of the weights

One batch is some trees up to a token budget, one step of Adam. Every so many steps the validation loss is taken, after a Platt
fit of its own, so that neither balancing nor scale counts; the best weights so far are kept, and training ends early where they
stay the best.
`accelerate` takes care of devices, mixed precision and several processes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits

from ..engine.errors import DataError, SettingsError
from ..engine.files import errors_of, write_atomically
from ..engine.progress import stage
from . import probe
from .examples import Batch, Example, States, join_examples, shuffled
from .metrics import cross_entropy, fit_platt
from .model import ValueModel
from .packing import token_batches
from .targets import Kind

Tune = Literal["full", "lora", "head"]


@dataclass(frozen=True)
class TrainingSettings:
    """The paper's defaults: Adam, 1e-4, 2 epochs. `learning_rate`: the highest, see `rate_at`. `batch_tokens`: of a step, prompts
    included. `patience`: validations without a better loss after which training ends, 0 for never. `fit_head_first`: begin from a
    head fitted to the untuned tail."""

    tune: Tune = "full"
    targets: Kind = "binary"
    balanced: bool = False
    epochs: int = 2
    learning_rate: float = 1e-4
    batch_tokens: int = 8192
    validate_every: int = 20
    patience: int = 5
    fit_head_first: bool = True
    mixed_precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_tokens < 1 or self.validate_every < 1 or not self.learning_rate > 0:
            raise SettingsError("epochs, tokens a batch, steps between validations and the learning rate must be above 0")


@dataclass
class History:
    """What happened, step by step: (step, loss) of the training and of the validations, and what the head's own fit reached."""

    training: list[tuple[int, float]] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    head_fit: dict[str, float] = field(default_factory=dict)

    @property
    def best_loss(self) -> float:
        """The lowest validation loss, in nats."""
        return min((loss for _, loss in self.validation), default=self.head_fit.get("validation_loss", float("nan")))

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> History:
        """From its JSON form, which knows no tuples."""
        training, validation = ([(step, loss) for step, loss in saved[name]] for name in ("training", "validation"))
        return cls(training, validation, saved["head_fit"])


def train(
    model: ValueModel,
    training: Sequence[Example],
    validation: Sequence[Example],
    states: States,
    settings: TrainingSettings,
    folder: Path,
    stop_after: int | None = None,
) -> History:
    """Train `model` in place and calibrate it on `validation`, which should be of independent rollouts.

    Checkpoints and logs go to `folder`; an interrupted training goes on from its last checkpoint, exactly as if it had not been.
    `stop_after` ends it, uncalibrated, after so many steps, as an interruption would. Raises DataError where `folder` holds
    the checkpoint of another training.
    """
    history = History()
    if settings.tune == "head":
        history.head_fit = _fit_head(model, training, validation, states)
    else:
        loop = _Loop(model, training, validation, states, settings, folder)
        history = loop.run(history, stop_after)
    if stop_after is None:
        calibrate(model, validation, states)
    return history


def calibrate(model: ValueModel, validation: Sequence[Example], states: States) -> tuple[float, float]:
    """Fit (scale, shift) on `validation` and set them in the head."""
    scale, shift = fit_platt(*_predictions(model, validation, states))
    model.head.calibration.copy_(torch.tensor([scale, shift]))
    return scale, shift


def validation_loss(model: ValueModel, validation: Sequence[Example], states: States) -> float:
    """Mean cross entropy in nats after a Platt fit on the same places: what calibrated values would have."""
    logits, labels, weights = _predictions(model, validation, states)
    scale, shift = fit_platt(logits, labels, weights)
    return float(np.average(cross_entropy(scale * logits + shift, labels), weights=weights))


def _fit_head(model: ValueModel, training: Sequence[Example], validation: Sequence[Example], states: States) -> dict[str, float]:
    model.eval()
    return probe.fit_head(
        model.head, probe.path_features(model, training, states), probe.path_features(model, validation, states)
    )


@torch.no_grad()
def _predictions(model: ValueModel, examples: Sequence[Example], states: States) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    device = next(model.tail.norm.parameters()).device
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for example in examples:
        batch = join_examples([example], states, device)
        parts.append((model(batch.states, batch.pack, batch.mean_logprob), batch.labels, batch.weights))
    logits, labels, weights = (torch.cat(column).double().cpu().numpy() for column in zip(*parts, strict=True))
    return logits, labels, weights


def rate_at(step: int, steps: int) -> float:
    """The share of the learning rate at a step from 1 to `steps`: up in a straight line for a tenth of them, then down towards 0,
    so that a fitted head is not shaken off and the last steps settle."""
    rise = max(steps // 10, 1)
    return min(step / rise, (steps - step + 1) / (steps - rise + 1))


def batch_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """The loss of a batch: each problem in it counts the same. logits [T], one for each token of the batch -> a scalar."""
    loss = binary_cross_entropy_with_logits(logits, batch.labels, weight=batch.weights, reduction="sum")
    return loss / batch.weights.sum()


class _Loop:
    """The state of a training: what a checkpoint holds is all that the next step depends on."""

    def __init__(
        self,
        model: ValueModel,
        training: Sequence[Example],
        validation: Sequence[Example],
        states: States,
        settings: TrainingSettings,
        folder: Path,
    ) -> None:
        self._training, self._validation, self._states, self._settings = training, validation, states, settings
        self._accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=settings.mixed_precision,
            log_with="tensorboard",
            project_dir=str(folder / "logs"),
        )
        self._plain = model
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trainable, lr=settings.learning_rate)
        self._model, self._optimizer = self._accelerator.prepare(model, optimizer)
        run = _identity(model, training, validation, settings)
        self._checkpoint = Checkpoint(folder / "checkpoint", self._accelerator, run)

    def run(self, history: History, stop_after: int | None) -> History:
        settings, accelerator = self._settings, self._accelerator
        progress = self._checkpoint.load()
        if progress is not None:
            history = History.restored(progress["history"])
            best = self._checkpoint.load_best()
        else:
            if settings.fit_head_first:
                history.head_fit = _fit_head(self._plain, self._training, self._validation, self._states)
            best = {}
        accelerator.init_trackers("train", config={k: v for k, v in asdict(settings).items() if not isinstance(v, tuple)})
        first = progress["step"] if progress is not None else 0
        steps = [group for epoch in range(settings.epochs) for group in self._epoch(epoch)]
        if progress is None:
            best = self._validate(0, history, best)
        with stage(f"Training on {len(self._training)} trees", total=float(len(steps))) as advance:
            for step, group in enumerate(steps[first:], first + 1):
                if self._ends_early(history) or (stop_after is not None and step > stop_after):
                    break
                loss = self._step(group, settings.learning_rate * rate_at(step, len(steps)))
                history.training.append((step, loss))
                accelerator.log({"loss": loss}, step=step)
                if step % settings.validate_every == 0 or step == len(steps):
                    best = self._validate(step, history, best)
                    self._checkpoint.save({"step": step, "history": asdict(history)}, best)
                advance(step)
        accelerator.end_training()
        if stop_after is None:
            self._plain.load_state_dict(best)
        self._plain.eval()
        return history

    def _epoch(self, epoch: int) -> list[list[int]]:
        """This process's groups of examples, one a step; all processes have the same number of steps."""
        order = shuffled(len(self._training), self._settings.seed, epoch)
        groups = list(token_batches([len(example.pack) for example in self._training], self._settings.batch_tokens, order))
        rank, world = self._accelerator.process_index, self._accelerator.num_processes
        return [groups[i + rank] if i + rank < len(groups) else groups[rank % len(groups)] for i in range(0, len(groups), world)]

    def _step(self, group: Sequence[int], learning_rate: float) -> float:
        self._model.train()
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = learning_rate
        batch = join_examples([self._training[i] for i in group], self._states, self._accelerator.device)
        with self._accelerator.autocast():
            logits = self._model(batch.states, batch.pack, batch.mean_logprob)
        loss = batch_loss(logits.float(), batch)
        self._accelerator.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(self._accelerator.reduce(loss.detach(), "mean"))

    def _validate(self, step: int, history: History, best: dict[str, Any]) -> dict[str, Any]:
        """Note the validation loss; returns the weights that are the best so far."""
        self._model.eval()
        loss = validation_loss(self._plain, self._validation, self._states)
        self._accelerator.log({"validation_loss": loss}, step=step)
        better = not history.validation or loss < min(value for _, value in history.validation)
        history.validation.append((step, loss))
        return copy.deepcopy(self._plain.state_dict()) if better else best

    def _ends_early(self, history: History) -> bool:
        losses = [loss for _, loss in history.validation]
        patience = self._settings.patience
        return bool(patience) and len(losses) - 1 - int(np.argmin(losses)) >= patience


def _identity(
    model: ValueModel, training: Sequence[Example], validation: Sequence[Example], settings: TrainingSettings
) -> dict[str, Any]:
    """All that the trained weights depend on."""
    shape = asdict(replace(model.settings, training={}))
    return asdict(settings) | shape | {"data": _data_hash(training), "validation": _data_hash(validation)}


def _data_hash(examples: Sequence[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.key.encode() + example.labels.numpy().tobytes() + example.weights.numpy().tobytes())
    return digest.hexdigest()


# -- checkpoints: weights, optimiser and random state through `accelerate`, and where in the data it is
#
# A checkpoint is complete once it holds PROGRESS, which is written last. Only a complete one takes the place of the one before
# it; where that was cut short, loading does the rest.


PROGRESS, BEST = "progress.json", "best.safetensors"


class Checkpoint:
    """One checkpoint in `folder`, replaced as a whole by the next. `run`: all that makes two trainings the same."""

    def __init__(self, folder: Path, accelerator: Accelerator, run: dict[str, Any]) -> None:
        self._folder, self._accelerator = folder, accelerator
        self._new = folder.with_name(folder.name + ".new")
        self._run = json.loads(json.dumps(run))

    def load(self) -> dict[str, Any] | None:
        """Restore weights and optimiser and return what was saved beside them; None where there is no checkpoint. Raises
        DataError for that of another run."""
        self._replace_old()
        if not (self._folder / PROGRESS).exists():
            return None
        saved: dict[str, Any] = json.loads((self._folder / PROGRESS).read_text())
        if saved["run"] != self._run:
            changed = sorted(key for key in self._run if saved["run"].get(key) != self._run[key])
            raise DataError(
                f"{self._folder.parent} holds a training with other {', '.join(changed)}: remove it or choose another"
            )
        self._accelerator.load_state(str(self._folder))
        return saved

    def load_best(self) -> dict[str, torch.Tensor]:
        """The weights of the best epoch so far by name, of any shape."""
        return load_file(self._folder / BEST)

    def save(self, progress: dict[str, Any], best: dict[str, torch.Tensor]) -> None:
        """Write beside the old checkpoint, then take its place. `best` holds tensors of any shape."""
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            shutil.rmtree(self._new, ignore_errors=True)
            self._new.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        with errors_of(self._new):
            self._accelerator.save_state(str(self._new))
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            with errors_of(self._new / BEST):
                save_file({name: tensor.cpu().contiguous() for name, tensor in best.items()}, self._new / BEST)
            write_atomically(self._new / PROGRESS, json.dumps(progress | {"run": self._run}))
        self._replace_old()

    def _replace_old(self) -> None:
        """Let the new checkpoint, if it is complete, take the place of the old one, of which a part may be gone already."""
        if self._accelerator.is_main_process and (self._new / PROGRESS).exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._new.replace(self._folder)
        self._accelerator.wait_for_everyone()
