"""From tokens to text that can be shown: where a stop string ends an answer, and what of a search's best answer is settled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .engine.models.tokenizer import MidText
from .engine.search import Search
from .engine.tree import ROOT, Ended, Tree

_INCOMPLETE = "\ufffd"  # how a decoder shows the first bytes of a character


class AnswerText:
    """Decodes answers, each up to the first of `stops` that it holds. `goes_on`: they go on with a text, so that a space at their
    beginning is theirs, as it is not in a text of its own.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = (), goes_on: bool = False) -> None:
        self._decoder = MidText(tokenizer) if goes_on else tokenizer
        self.stops = [stop for stop in stops if stop]

    def whole(self, tree: Tree, leaf: int) -> str:
        """The answer that ends at `leaf`, without its stop string and what follows."""
        text = self._decoded(tree, leaf)
        return text[: self._end(text)]

    def stopped(self, tree: Tree, leaf: int) -> bool:
        """Whether the answer holds a stop string: `SearchSettings.complete`."""
        text = self._decoded(tree, leaf)
        return self._end(text) < len(text)

    def certain(self, tree: Tree, node: int) -> str:
        """What the text of every answer through `node` begins with."""
        text = self._decoded(tree, node)
        end = self._end(text)
        if end < len(text):
            return text[:end]
        text = text.rstrip(_INCOMPLETE)
        longest = max((_overlap(text, stop) for stop in self.stops), default=0)
        return text[: len(text) - longest]

    def _decoded(self, tree: Tree, node: int) -> str:
        ids = tree.tokens(node).tolist()
        text: str = self._decoder.decode(ids, skip_special_tokens=True)
        if not text.endswith(_INCOMPLETE):
            return text
        # Where tokens are bytes, the first ones of a character make the whole characters before them look incomplete, too.
        for count in range(1, 4):
            before: str = self._decoder.decode(ids[:-count], skip_special_tokens=True)
            if not before.endswith(_INCOMPLETE):
                return text if text.startswith(before) else before + _INCOMPLETE
        return text

    def _end(self, text: str) -> int:
        return min((at for stop in self.stops if (at := text.find(stop)) >= 0), default=len(text))


class SettledText:
    """Follows a search and says how the answer begins that will be ranked first, as far as that can no longer change."""

    def __init__(self, text: AnswerText) -> None:
        self._text = text
        self._node = ROOT
        self._said = ""

    def advance(self, search: Search) -> str:
        """What is newly settled, often nothing."""
        if search.policy.revisits or search.further is not None:  # it may begin anew at the root
            return ""
        node = self._common(search.tree, _in_the_running(search))
        if node == self._node:
            return ""
        self._node = node
        return self.rest(self._text.certain(search.tree, node))

    def rest(self, text: str) -> str:
        """What of `text`, the best answer or a certain part of it, was not yet said. Raises ValueError where what was said is
        no part of it.
        """
        if not text.startswith(self._said):
            raise ValueError("an answer's text depends on tokens behind it: this tokenizer's answers cannot be streamed")
        new, self._said = text[len(self._said) :], text
        return new

    def _common(self, tree: Tree, leaves: set[int]) -> int:
        """The deepest node on the paths to all `leaves`, at or below the last one."""
        settled = tree.depth_of(self._node)
        common, *others = sorted(leaves, key=tree.depth_of)
        for leaf in others:
            if tree.depth_of(common) <= settled:
                return self._node
            other = tree.prefix_at(leaf, tree.depth_of(common))
            while common != other:
                common, other = int(tree.nodes.parent[common]), int(tree.nodes.parent[other])
        return common


def _in_the_running(search: Search) -> set[int]:
    """Where the candidates stand of which one will be ranked first: once one is complete, no dropped one will."""
    standing = search.leaves(Ended.LIVE, Ended.EOS)
    if not search.leaves(Ended.EOS):
        standing |= search.leaves(Ended.LENGTH, Ended.STOPPED, Ended.PRUNED)
    return standing


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of `text` that `stop` begins with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
