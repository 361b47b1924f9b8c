"""A generator whose answers another model values: the base of the value model is not the generator, and may have other tokens.

The generator decodes as it always does. At each check the new text is translated, added to a tree of the base's tokens, and
read by the base with a KV tree of its own: only tokens that are new there are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from ..engine.errors import SettingsError
from ..engine.language_model import LanguageModel, Prompt, Session
from ..engine.paired_model import PairedModel, PairedSession
from ..engine.sampling import Sampling
from ..engine.torch_backend.model import TorchLanguageModel, TorchSession
from ..engine.tree import ROOT, Ended, Tree


class ValueReader(TorchLanguageModel):
    """A base model with a tail that only reads: no logits are computed, nothing can be drawn."""

    def _remember(self, rows: list[tuple[TorchSession, int]], hidden: torch.Tensor) -> None:
        for session, node in rows:
            session.next[node] = cast(Any, None)


@dataclass
class ScoredSession(PairedSession):
    """`nodes`: for each node of the generator's tree the reader's last node in its own, where known."""

    nodes: dict[int, int] = field(default_factory=dict)


class TextScoredModel(PairedModel):
    """`generator`, with the values of `reader`."""

    scores = True

    def __init__(self, generator: LanguageModel, reader: ValueReader, translation: Translation) -> None:
        super().__init__(generator, reader)
        self._translation = translation
        self.reader_tokenizer = translation.base

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> ScoredSession:
        """As `LanguageModel.open`. Raises SettingsError where the prompt's form for the reader is not given."""
        if prompt.reader_ids is None:
            raise SettingsError("the value model has another base than the generator, and its form of this prompt was not given")
        reading = self.reader.open(Prompt(prompt.reader_ids, room=prompt.room), Sampling(), seed)  # which only reads
        return ScoredSession(self.generator.open(prompt, sampling, seed, stop_ids), reading)

    def _read(self, wanted: Sequence[tuple[PairedSession, np.ndarray]]) -> None:
        """Fill the values at the wanted nodes and on their paths. A node before the first whole token of the base stays NaN."""
        read: list[tuple[ScoredSession, int, np.ndarray, np.ndarray]] = []
        for session, leaves in wanted:
            scored = _scored(session)
            for leaf in np.unique(leaves[np.isnan(scored.tree.nodes.value[leaves])]).tolist():
                translated = self._translation(scored.tree.tokens(leaf).tolist())
                nodes = add_translated(scored.reading.tree, logprob_sums_to(scored.tree, leaf), translated)
                read.append((scored, leaf, nodes, translated.read))
        self.reader.read([(scored.reading, nodes[-1:]) for scored, _, nodes, _ in read if len(nodes)])
        for scored, leaf, nodes, done in read:
            if len(nodes):
                self._write_back(scored, leaf, nodes, done)

    @staticmethod
    def _write_back(scored: ScoredSession, leaf: int, nodes: np.ndarray, done: np.ndarray) -> None:
        """Each node gets the value after the last token of the base that is complete there; the leaf that of all its text."""
        path = scored.tree.path(leaf)
        last = np.searchsorted(done, np.arange(1, len(path) + 1), side="right") - 1
        last[-1] = len(nodes) - 1
        new = (last >= 0) & np.isnan(scored.tree.nodes.value[path])
        scored.tree.nodes.value[path[new]] = scored.reading.tree.nodes.value[nodes[last[new]]]
        scored.nodes[leaf] = int(nodes[-1])

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        scored = _scored(session)
        self.generator.keep(scored.own, leaves)
        kept = {leaf for leaf in leaves.tolist() if leaf != ROOT}
        scored.nodes = {leaf: node for leaf, node in scored.nodes.items() if leaf in kept}
        self.reader.keep(scored.reading, np.asarray(list(scored.nodes.values()), np.int64))

    def hold(self, session: Session, leaf: int) -> None:
        scored = _scored(session)
        self.generator.hold(scored.own, leaf)
        if leaf in scored.nodes:
            self.reader.hold(scored.reading, scored.nodes[leaf])


def _scored(session: Session) -> ScoredSession:
    return cast(ScoredSession, session)


# -- from one tokenizer's tokens to another's, by way of the text
#
# Only whole characters are passed on, and an end token becomes the other's end token. Each token of the base knows how many of
# the generator's are complete at its end: by these numbers log-probabilities go one way and values come back the other.


_INCOMPLETE = "\ufffd"


@dataclass(frozen=True)
class Translated:
    """`ids` [K], of the base; `read` [K]: how many of the generator's tokens are complete at the end of each, never falling."""

    ids: list[int]
    read: np.ndarray


class Translation:
    """From the generator's token ids to the base's. `generator_ends`: ids that end an answer."""

    def __init__(self, generator: Any, generator_ends: frozenset[int], base: Any) -> None:
        self._generator, self._ends, self.base = generator, generator_ends, base
        self.changes_ids = generator.backend_tokenizer.to_str() != base.backend_tokenizer.to_str()

    def __call__(self, ids: Sequence[int]) -> Translated:
        """Translate an answer, or the beginning of one. The whole text is encoded each time: it is the one way that is right for
        any tokenizer, costs little beside a forward pass, and gives the same tokens again but for the last few."""
        ids = list(ids)
        if not self.changes_ids:
            return Translated(ids, np.arange(1, len(ids) + 1))
        ended = bool(ids) and ids[-1] in self._ends
        shown = ids[:-1] if ended else ids
        text = self._generator.decode(shown, skip_special_tokens=True).rstrip(_INCOMPLETE)
        encoded = self.base(text, add_special_tokens=False, return_offsets_mapping=True)
        stops = [stop for _, stop in encoded["offset_mapping"]]
        read = np.searchsorted(self._character_ends(shown, text), stops, side="right")
        if not ended:
            return Translated(encoded["input_ids"], read)
        return Translated([*encoded["input_ids"], self.base.eos_token_id], np.append(read, len(ids)))

    def _character_ends(self, ids: list[int], text: str) -> np.ndarray:
        """How many characters of `text` are complete after each token."""
        pieces = self._generator.batch_decode([[token] for token in ids], skip_special_tokens=True)
        if "".join(pieces) == text:
            return np.cumsum([len(piece) for piece in pieces])
        # Characters of several tokens, or a tokenizer whose tokens depend on their neighbours.
        beginnings = (self._generator.decode(ids[: i + 1], skip_special_tokens=True) for i in range(len(ids)))
        return np.maximum.accumulate([len(beginning.rstrip(_INCOMPLETE)) for beginning in beginnings] or [0])


def add_translated(tree: Tree, logprob_sums: np.ndarray, translated: Translated) -> np.ndarray:
    """Add an answer to a tree of the base's tokens; returns its nodes [K].

    logprob_sums: the generator's log-probability of its first 0, 1, ... tokens. A token of the base gets that of the generator's
    tokens that it completes, so that sums along paths agree.
    """
    nodes = np.empty(len(translated.ids), np.int64)
    node, before = ROOT, 0
    for i, (token, read) in enumerate(zip(translated.ids, translated.read.tolist(), strict=True)):
        node = nodes[i] = tree.add_node(node, token, logprob=logprob_sums[read] - logprob_sums[before])
        before = read
    return nodes


def logprob_sums_to(tree: Tree, leaf: int) -> np.ndarray:
    """The log-probability of the first 0, 1, ... tokens on the path to `leaf`, [depth + 1]."""
    return np.concatenate([[0.0], tree.logprob_sum[tree.path(leaf)]])


def translated_tree(tree: Tree, prompt_ids: Sequence[int], translation: Translation) -> Tree:
    """A judged tree in the base's tokens, below the base's own prompt. Rollouts whose texts are equal become one."""
    other = Tree.below(prompt_ids)
    for row, leaf in enumerate(tree.rollouts.leaf.tolist()):
        translated = translation(tree.tokens(leaf).tolist())
        if not translated.ids:
            continue
        nodes = add_translated(other, logprob_sums_to(tree, leaf), translated)
        shared = int(np.searchsorted(translated.read, tree.depth_of(int(tree.rollouts.fork[row])), side="right"))
        added = other.add_rollout(
            int(nodes[-1]),
            int(nodes[shared - 1]) if shared else ROOT,
            Ended(int(tree.rollouts.ended[row])),
            int(tree.rollouts.seed[row]),
            int(tree.rollouts.multiplicity[row]),
        )
        other.verdicts[added] = tree.verdicts[row]
    return other
