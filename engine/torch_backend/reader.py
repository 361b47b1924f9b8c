"""A second, larger model that reads the generator's token ids as they are: the paper's 14 B for its 4 B, with nothing trained.

It reads the tree that the generator grows, with keys and values of its own, each token once, and gives each token's
log-probability under the reader. That, and its ratio to the generator's own, are scores (scorers.py): the ratio of two models is
an implicit reward of the process (Yuan et al., "Free Process Rewards without Process Labels", 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

from ..errors import SettingsError
from ..language_model import LanguageModel, Prompt, Session
from ..paired_model import PairedModel, PairedSession
from ..sampling import Sampling
from ..tree import ROOT, Tree
from .model import LOGIT_ROWS, TorchLanguageModel, TorchSession


class ReadingSession(TorchSession):
    """The generator's own tree, with the reader's caches. `unread`: for each node that is to be read the children whose
    log-probability it tells; `first` [1, H] is the state at the prompt's last token.
    """

    def __init__(self, tree: Tree, prompt: Any, first: torch.Tensor) -> None:
        super().__init__(tree, prompt, Sampling(), 0, 0)
        self.first = first
        self.unread: dict[int, list[int]] = {}


class TorchReader(TorchLanguageModel):
    """A model that only reads: nothing is drawn."""

    @torch.inference_mode()
    def begin(self, tree: Tree, prompt: Prompt) -> ReadingSession:
        """Read the prompt below which `tree` grows, as far as it is not held. Raises ContextError."""
        return ReadingSession(tree, *self._read_prompt(prompt.token_ids, prompt.room))

    @torch.inference_mode()
    def read(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        """Fill `reader_logprob` at the wanted nodes and on the paths to them, where it is not known."""
        above: list[tuple[TorchSession, np.ndarray]] = []
        for opened, nodes in wanted:
            session = cast(ReadingSession, opened)
            session.unread = unread_below(session.tree, nodes)
            if ROOT in session.unread:
                self._remember([(session, ROOT)], session.first)
            above.append((session, np.asarray([node for node in session.unread if node != ROOT], np.int64)))
        self._look_ahead(above)

    def _remember(self, rows: list[tuple[TorchSession, int]], hidden: torch.Tensor) -> None:
        """Tell the children of `rows` how likely they are."""
        asked = [
            (row, session.tree, child)
            for row, (session, node) in enumerate(rows)
            for child in cast(ReadingSession, session).unread.get(node, ())
        ]
        for start in range(0, len(asked), LOGIT_ROWS):
            part = asked[start : start + LOGIT_ROWS]
            logits = self._logits(hidden[[row for row, _, _ in part]]).float()
            tokens = torch.tensor([int(tree.nodes.token_id[child]) for _, tree, child in part], device=logits.device)
            found = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
            for (_, tree, child), logprob in zip(part, found.tolist(), strict=True):
                tree.nodes.reader_logprob[child] = logprob


def unread_below(tree: Tree, nodes: np.ndarray) -> dict[int, list[int]]:
    """By parent, the nodes on the paths to `nodes` [N] whose `reader_logprob` is not known."""
    found: dict[int, list[int]] = {}
    seen: set[int] = set()
    parent, known = tree.nodes.parent, ~np.isnan(tree.nodes.reader_logprob)
    for node in nodes.tolist():
        while node != ROOT and node not in seen and not known[node]:
            seen.add(node)
            found.setdefault(int(parent[node]), []).append(node)
            node = int(parent[node])
    return found


class ReadModel(PairedModel):
    """`generator`, whose answers `reader` reads at each check and at the end."""

    reads = True
    reader: TorchReader

    def __init__(self, generator: LanguageModel, reader: TorchReader) -> None:
        super().__init__(generator, reader)
        self.scores = generator.scores
        self.reader_tokenizer = generator.reader_tokenizer  # of a value model that reads text
        if reader.max_length < generator.max_length:
            self.max_length, self.limit = reader.max_length, reader.limit

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> PairedSession:
        """As `LanguageModel.open`; the reader reads the prompt, too."""
        own = self.generator.open(prompt, sampling, seed, stop_ids)
        return PairedSession(own, self.reader.begin(own.tree, prompt))

    def _read(self, wanted: Sequence[tuple[PairedSession, np.ndarray]]) -> None:
        self.generator.read([(session.own, nodes) for session, nodes in wanted])
        self.reader.read([(session.reading, nodes) for session, nodes in wanted])

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        pair = cast(PairedSession, session)
        self.generator.keep(pair.own, leaves)
        self.reader.keep(pair.reading, leaves)

    def hold(self, session: Session, leaf: int) -> None:
        pair = cast(PairedSession, session)
        self.generator.hold(pair.own, leaf)
        self.reader.hold(pair.reading, leaf)


def check_same_tokens(generator: Any, reader: Any, name: str) -> None:
    """Raise SettingsError where the reader's tokenizer gives other ids than the generator's, whose form prompts have."""
    if generator.backend_tokenizer.to_str() != reader.backend_tokenizer.to_str():
        raise SettingsError(f"{name} cannot read this model's answers: it has other tokens")
