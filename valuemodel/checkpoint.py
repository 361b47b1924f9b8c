"""Checkpoints of a training: weights, optimiser and random state through `accelerate`, and where in the data it is.

A checkpoint is complete once it holds PROGRESS, which is written last. Only a complete one takes the place of the one before it;
where that was cut short, loading does the rest.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from ..engine.errors import GuidedGenError
from ..engine.files import errors_of, replaced_atomically

PROGRESS, BEST = "progress.json", "best.safetensors"


class CheckpointError(GuidedGenError):
    """A checkpoint of another training."""


class Checkpoint:
    """One checkpoint in `folder`, replaced as a whole by the next. `run`: all that makes two trainings the same."""

    def __init__(self, folder: Path, accelerator: Accelerator, run: dict[str, Any]) -> None:
        self._folder, self._accelerator = folder, accelerator
        self._new = folder.with_name(folder.name + ".new")
        self._run = json.loads(json.dumps(run))

    def load(self) -> dict[str, Any] | None:
        """Restore weights and optimiser and return what was saved beside them; None where there is no checkpoint. Raises
        CheckpointError for that of another run."""
        self._replace_old()
        if not (self._folder / PROGRESS).exists():
            return None
        saved: dict[str, Any] = json.loads((self._folder / PROGRESS).read_text())
        if saved["run"] != self._run:
            changed = sorted(key for key in self._run if saved["run"].get(key) != self._run[key])
            raise CheckpointError(
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
            with replaced_atomically(self._new / PROGRESS) as temporary:
                temporary.write_text(json.dumps(progress | {"run": self._run}))
        self._replace_old()

    def _replace_old(self) -> None:
        """Let the new checkpoint, if it is complete, take the place of the old one, of which a part may be gone already."""
        if self._accelerator.is_main_process and (self._new / PROGRESS).exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            self._new.replace(self._folder)
        self._accelerator.wait_for_everyone()
