"""The shared layers' output on disk, so that training pays for them once.

A folder for each base model, precision and layer; in it all states one behind the other (`states.bin`, memory-mapped, in the type
in which the base computed them) and an index with one line a tree (`index.jsonl`), by a hash of what the layers read: tokens,
positions and mask. So trees may be added, left out or judged anew, and only new ones are computed. An index line is written after
its states: what a killed process leaves behind is never read, and cut off before the next tree. Each tree is read alone: its
states depend neither on the trees beside it nor on interruptions.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..engine.errors import DataError
from ..engine.progress import stage
from .base_layers import shared_states
from .packing import Pack

STATES, INDEX = "states.bin", "index.jsonl"


class StateCache:
    """States [T, H] by pack key. Reading maps the file; `add` appends to it, within `writing`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[int, int]] = {}
        self._mapped: np.ndarray | None = None
        self._width, self._dtype = 0, torch.float32
        self._read_index()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> torch.Tensor:
        start, count = self._places[key]
        if self._mapped is None:
            self._mapped = np.memmap(self.folder / STATES, self._stored(), "r", shape=(self._rows(), self._width))
        rows = torch.from_numpy(np.array(self._mapped[start : start + count]))
        return rows.view(self._dtype)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for adding: other processes wait, and what one that was killed left half written is cut off."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._read_index()
            self._cut_off_torn_ends()
            yield

    def add(self, key: str, states: torch.Tensor) -> None:
        """Store the states [T, H] of a pack under its key. Raises DataError."""
        if not self._places:
            self._width, self._dtype = states.shape[1], states.dtype
        if (states.shape[1], states.dtype) != (self._width, self._dtype):
            raise DataError(f"{self.folder} holds states of another width or type: remove it")
        start = self._rows()
        with (self.folder / STATES).open("ab") as file:
            file.write(states.contiguous().view(self._integer()).numpy().tobytes())
        line = {"key": key, "start": start, "count": len(states), "width": self._width, "dtype": str(self._dtype)}
        with (self.folder / INDEX).open("a") as file_:
            file_.write(json.dumps(line) + "\n")
        self._places[key] = start, len(states)
        self._mapped = None

    def _rows(self) -> int:
        return max((start + count for start, count in self._places.values()), default=0)

    def _integer(self) -> torch.dtype:
        """Of the same size: NumPy has no bfloat16."""
        return {2: torch.int16, 4: torch.int32}[self._dtype.itemsize]

    def _stored(self) -> str:
        return {2: "int16", 4: "int32"}[self._dtype.itemsize]

    def _read_index(self) -> None:
        self._places, self._mapped = {}, None
        path = self.folder / INDEX
        if not path.exists():
            return
        for line in path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                row = json.loads(line)
                self._places[row["key"]] = row["start"], row["count"]
                self._width, self._dtype = row["width"], getattr(torch, row["dtype"].removeprefix("torch."))
        size = (self.folder / STATES).stat().st_size if (self.folder / STATES).exists() else 0
        if size < self._rows() * self._width * self._dtype.itemsize:
            raise DataError(f"{self.folder / STATES} is shorter than its index says: remove {self.folder}")

    def _cut_off_torn_ends(self) -> None:
        for name in (STATES, INDEX):
            (self.folder / name).touch()
        with (self.folder / STATES).open("r+b") as file:
            file.truncate(self._rows() * self._width * self._dtype.itemsize)
        text = (self.folder / INDEX).read_bytes()
        with (self.folder / INDEX).open("r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def pack_key(pack: Pack) -> str:
    """A hash of all that the states of a pack depend on, but for the model."""
    digest = hashlib.sha256()
    for tensor in (pack.token_ids, pack.positions, pack.ends):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def cached_states(
    folder: Path, packs: Sequence[Pack], fork_layers: Sequence[int], load_base: Callable[[], Any]
) -> dict[int, StateCache]:
    """The states below each of `fork_layers` of all packs, from `folder` or computed now, in one pass for all layers.

    `load_base` is called only if something is missing. `folder` is one base's, in one precision.
    """
    caches = {layer: StateCache(folder / f"layer-{layer}") for layer in fork_layers}
    keyed = {pack_key(pack): pack for pack in packs}
    if all(key in cache for cache in caches.values() for key in keyed):
        return caches
    base = load_base()
    with ExitStack() as held:
        for cache in caches.values():
            held.enter_context(cache.writing())
        _compute(base, {key: pack for key, pack in keyed.items() if any(key not in cache for cache in caches.values())}, caches)
    return caches


def _compute(base: Any, missing: dict[str, Pack], caches: dict[int, StateCache]) -> None:
    device = next(base.get_decoder().norm.parameters()).device
    layers, done = list(caches), 0
    total = sum(len(pack) for pack in missing.values())
    with stage(f"Reading {len(missing)} trees with the shared layers", total=float(total)) as advance:
        for key, pack in missing.items():
            for layer, states in zip(layers, shared_states(base, pack.to(device), layers), strict=True):
                if key not in caches[layer]:
                    caches[layer].add(key, states.cpu())
            done += len(pack)
            advance(done)
