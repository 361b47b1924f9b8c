"""Growable columns, and those of a token tree: `nodes` has one row a token, `rollouts` one a distinct rollout."""

from __future__ import annotations

from typing import Any

import numpy as np

NODE_COLUMNS = {
    "token_id": np.int32,
    "parent": np.int32,
    "logprob": np.float32,  # of the token, under the model at temperature 1
    "sample_logprob": np.float32,  # of the token, after temperature, top-k and top-p
    "value": np.float32,  # probability that the answer ends up correct; NaN where not scored
    "reader_logprob": np.float32,  # of the token, under a second model that read it; NaN where none did
    "entropy": np.float16,  # nats, of the distribution that the token was drawn from, at temperature 1
    "margin": np.float16,  # probability of its most likely token less that of the second
    "certainty": np.float16,  # self-certainty: KL divergence of that distribution from the uniform one, nats
}
ROLLOUT_COLUMNS = {
    "leaf": np.int32,
    "fork": np.int32,  # the node below which its own tokens begin; ROOT for an independent rollout
    "multiplicity": np.int32,
    "ended": np.int8,
    "seed": np.int64,  # the number of its stream of random draws (see randomness.py)
}


class Table:
    """Growable columns of equal length, each a NumPy array; `table.name` is a view of the rows in use."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self._dtypes = columns
        self._size = 0
        self._data = {name: np.empty(64, dtype) for name, dtype in columns.items()}

    def __len__(self) -> int:
        return self._size

    def __getattr__(self, name: str) -> np.ndarray:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._data[name][: self._size]
        except KeyError:
            raise AttributeError(name) from None

    def append(self, **row: Any) -> int:
        """Add a row (each column a scalar) and return its index."""
        if self._size == len(next(iter(self._data.values()))):
            self._data = {name: np.concatenate([column, np.empty_like(column)]) for name, column in self._data.items()}
        for name, value in row.items():
            self._data[name][self._size] = value
        self._size += 1
        return self._size - 1

    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name, each [rows]."""
        return {name: getattr(self, name) for name in self._dtypes}

    @classmethod
    def from_columns(cls, dtypes: dict[str, Any], columns: dict[str, np.ndarray]) -> Table:
        """A table of columns by name, each [rows]."""
        table = cls(dtypes)
        table._data = {name: np.array(columns[name], dtype) for name, dtype in dtypes.items()}
        table._size = len(next(iter(table._data.values())))
        if not table._size:
            return cls(dtypes)
        return table
