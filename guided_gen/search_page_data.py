"""A token tree as the page shows it: each token's text and score, and of each candidate its end, its verdict and its colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pygments.lexers import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from .data_builder.problems.extraction import extract_program
from .engine.models.tokenizer import MidText
from .engine.scorers import mean_logprob
from .engine.tree import ROOT, Ended, Tree

_OF_ROWS = ("failures", "examples", "likelihoods")  # metadata that are known by a rollout's row
_INCOMPLETE = "\ufffd"
_BLOCK = re.compile(r"```\w*\n(.*?)(?=```|\Z)", re.DOTALL)  # the last one possibly unclosed
_ALL = re.compile(r"(.*)", re.DOTALL)
_COLOURS: list[tuple[_TokenType, str]] = [
    (Keyword, "k"),
    (Operator.Word, "k"),
    (String, "s"),
    (Number, "n"),
    (Comment, "c"),
    (Name.Function, "f"),
    (Name.Class, "f"),
    (Name.Builtin, "b"),
    (Name.Decorator, "f"),
]


def search_data(tree: Tree, tokenizer: Any, statement: str | None = None) -> dict[str, Any]:
    """What page.js reads of one search; JSON-able. Scores are values, or where the tree has none, mean token probabilities."""
    texts = NodeTexts(tokenizer).extend(tree.nodes.parent.tolist(), tree.nodes.token_id.tolist())
    valued = bool((~np.isnan(tree.nodes.value)).any())
    scores = tree.nodes.value if valued else np.exp(mean_logprob(tree))
    depth = tree.depth
    best = np.full(int(depth.max(initial=0)) + 1, -np.inf)  # the highest score at each depth
    np.fmax.at(best, depth, scores)
    failures, examples, likelihoods = (tree.metadata.get(name, {}) for name in _OF_ROWS)
    ends = [Ended(ended) for ended in tree.rollouts.ended.tolist()]

    def whole(leaf: int) -> str:
        return "".join(texts[node] for node in tree.path(leaf).tolist())

    candidates = [
        {
            "leaf": leaf,
            "fork": int(tree.rollouts.fork[row]),
            "times": int(tree.rollouts.multiplicity[row]),
            "ended": ends[row].name.lower(),
            "why": _why(tree, ends[row], leaf) + _compared(ends[row], leaf, depth, scores, best),
            "verdict": tree.verdicts[row],
            "failure": failures.get(str(row)),
            "examples": examples.get(str(row)),
            "likelihood": likelihoods.get(str(row)),
            "program": extract_program(tokenizer.decode(tree.tokens(leaf).tolist(), skip_special_tokens=True)),
            "colours": colours(text),
        }
        for row, (leaf, text) in enumerate((leaf, whole(leaf)) for leaf in tree.rollouts.leaf.tolist())
    ]
    about = {key: value for key, value in tree.metadata.items() if key not in _OF_ROWS}
    return {
        "title": str(tree.metadata.get("problem") or "a search"),
        "statement": statement,
        "about": about | {"prompt tokens": tree.prompt_length, "decoded tokens": len(tree)},
        "scored_by": "value" if valued else "mean token probability",
        "texts": texts,
        "parents": tree.nodes.parent.tolist(),
        "scores": _rounded(scores),
        "logprobs": _rounded(tree.nodes.logprob),
        "candidates": candidates,
    }


class NodeTexts:
    """The text of each node's token, as a tree grows. A character that several tokens share is the last one's."""

    def __init__(self, tokenizer: Any) -> None:
        self._decoder = MidText(tokenizer)
        self._known: dict[int, str] = {}  # by token
        self._partial: list[tuple[int, ...]] = []  # by node: the tokens of a character that is not whole yet

    def extend(self, parents: Sequence[int], token_ids: Sequence[int]) -> list[str]:
        """The texts of the next nodes."""
        new = sorted(set(token_ids) - self._known.keys())
        self._known |= zip(new, self._decoder.batch_decode([i] for i in new), strict=True)
        return [self._text(parent, token) for parent, token in zip(parents, token_ids, strict=True)]

    def _text(self, parent: int, token: int) -> str:
        before = self._partial[parent] if parent != ROOT else ()
        text = self._known[token]
        partial: tuple[int, ...] = ()
        if before or _INCOMPLETE in text:
            text = self._decoder.decode([*before, token])
            if text.endswith(_INCOMPLETE) and len(before) < 3:
                partial, text = (*before, token), ""
        self._partial.append(partial)
        return text


def colours(text: str) -> list[list[Any]]:
    """Runs of [class, length in UTF-16 units], "" for plain text: of the code blocks, or of all if there is none."""
    runs: list[list[Any]] = []
    end = 0
    for block in _BLOCK.finditer(text) if "```" in text else [_ALL.match(text)]:
        assert block is not None
        _add(runs, "", text[end : block.start(1)])
        for _, kind, value in PythonLexer().get_tokens_unprocessed(block[1]):
            _add(runs, next((name for known, name in _COLOURS if kind in known), ""), value)
        end = block.end(1)
    _add(runs, "", text[end:])
    return runs


def _add(runs: list[list[Any]], name: str, text: str) -> None:
    units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    if runs and runs[-1][0] == name:
        runs[-1][1] += units
    elif units:
        runs.append([name, units])


def _why(tree: Tree, ended: Ended, leaf: int) -> str:
    tokens = tree.depth_of(leaf)
    policy = tree.metadata.get("policy", "the policy")
    return {
        Ended.EOS: f"complete after {tokens} tokens",
        Ended.LENGTH: f"cut at the longest answer allowed, {tokens} tokens",
        Ended.STOPPED: f"stopped after {tokens} tokens: by {policy}, the budget, or its caller",
        Ended.PRUNED: f"dropped after {tokens} tokens by {policy}",
        Ended.LIVE: f"{tokens} tokens, not ended",
    }[ended]


def _compared(ended: Ended, leaf: int, depth: np.ndarray, scores: np.ndarray, best: np.ndarray) -> str:
    """What the policy saw of a candidate that it dropped."""
    if ended not in (Ended.STOPPED, Ended.PRUNED) or leaf == ROOT or np.isnan(scores[leaf]):
        return ""
    return f"; it stood at {scores[leaf]:.2f}, the best of that length at {best[depth[leaf]]:.2f}"


def _rounded(column: Sequence[float] | np.ndarray) -> list[float | None]:
    return [None if value != value else round(value, 4) for value in np.asarray(column, np.float64).tolist()]
