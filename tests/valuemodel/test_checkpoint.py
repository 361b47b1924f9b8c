"""The newest complete checkpoint is found, whatever moment a kill came."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from guided_gen.valuemodel.training import PROGRESS, Checkpoint


class Killed(BaseException):
    """Stands for the signal: no `except` of an ordinary error catches it."""


def is_killed(action: Callable[[Path], Any], folder: Path, moment: int) -> bool:
    """Whether `action` gets as far as its `moment`-th change of a folder, where it ends."""
    changes = count()

    def watched(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if next(changes) >= moment:
                raise Killed
            return change(*args, **options)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("mkdir", "unlink", "rmdir", "replace"):
            patched.setattr(os, name, watched(getattr(os, name)))
        try:
            action(folder)
        except Killed:
            return True
    return False


def opened(folder: Path) -> tuple[torch.nn.Linear, Checkpoint]:
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    model = torch.nn.Linear(1, 1, bias=False)
    accelerator.prepare(model, torch.optim.Adam(model.parameters()))
    return model, Checkpoint(folder / "checkpoint", accelerator, {"seed": 0})


def save_next(folder: Path) -> None:
    """Go on by one step from what is there; the weights are the step's number."""
    model, checkpoint = opened(folder)
    saved = checkpoint.load()
    step = 1 if saved is None else saved["step"] + 1
    torch.nn.init.constant_(model.weight, step)
    checkpoint.save({"step": step}, {"weight": torch.tensor([float(step)])})


def loaded_step(folder: Path) -> int:
    model, checkpoint = opened(folder)
    saved = checkpoint.load()
    assert saved is not None
    step: int = saved["step"]
    assert model.weight.item() == checkpoint.load_best()["weight"].item() == step
    return step


def test_the_newest_complete_checkpoint_is_found_whatever_moment_the_kill_came(tmp_path: Path) -> None:
    found: list[int] = []
    killed = True
    while killed:
        folder = tmp_path / str(len(found))
        save_next(folder)
        killed = is_killed(save_next, folder, moment=len(found))
        newest = max(json.loads(file.read_text())["step"] for file in folder.glob(f"*/{PROGRESS}"))
        for moment in count():  # loading is killed too, later each time
            if not is_killed(loaded_step, folder, moment):
                break
        found.append(loaded_step(folder))
        assert found[-1] == newest
        save_next(folder)
        assert loaded_step(folder) == newest + 1
    assert found == sorted(found) and found[0] == 1 and found[-2:] == [2, 2]
