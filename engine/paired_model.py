"""A generator with a second model beside it, which reads what it writes. All that the two share is passed on here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from .language_model import Growth, LanguageModel, Session, Statistics
from .tree import Tree


@dataclass
class PairedSession:
    """The generator's session and the reader's."""

    own: Session
    reading: Session
    tree: Tree = field(init=False)

    def __post_init__(self) -> None:
        self.tree = self.own.tree


class PairedModel(LanguageModel):
    """What `generator` does, timed and counted together with `reader`; subclasses say what is read."""

    def __init__(self, generator: LanguageModel, reader: LanguageModel) -> None:
        self.generator, self.reader = generator, reader
        self.vocabulary_size, self.forks = generator.vocabulary_size, generator.forks
        self.max_length, self.limit = generator.max_length, generator.limit
        self._reading_seconds = 0.0

    @property
    def statistics(self) -> Statistics:
        """Of both models; `scoring_seconds` are also the reader's."""
        own, reading = self.generator.statistics, self.reader.statistics
        return Statistics(
            own.passes + reading.passes,
            own.scoring_seconds + self._reading_seconds,
            own.cached_tokens + reading.cached_tokens,
            own.prefix_bytes + reading.prefix_bytes,
            own.in_process,
        )

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        return self.generator.advance([replace(growth, session=paired(growth.session).own) for growth in growths])

    def cut(self, session: Session, stream: int) -> bool:
        return self.generator.cut(paired(session).own, stream)

    def read(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        start = time.perf_counter()
        self._read([(paired(session), nodes) for session, nodes in wanted])
        self._reading_seconds += time.perf_counter() - start

    def _read(self, wanted: Sequence[tuple[PairedSession, np.ndarray]]) -> None:
        raise NotImplementedError

    def logprobs(self, prompt_ids: Sequence[int], token_ids: Sequence[int]) -> np.ndarray:
        return self.generator.logprobs(prompt_ids, token_ids)

    def hold_prefixes(self, max_bytes: int) -> None:
        """Both models hold prompts, each up to so many bytes."""
        self.reader.hold_prefixes(max_bytes)
        self.generator.hold_prefixes(max_bytes)

    def close(self, session: Session) -> None:
        self.generator.close(paired(session).own)
        self.reader.close(paired(session).reading)

    def end(self) -> None:
        self.generator.end()
        self.reader.end()


def paired(session: Session) -> PairedSession:
    return cast(PairedSession, session)
