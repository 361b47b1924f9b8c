"""A search as a picture: its tree from left to right, what became of each candidate, and which one was printed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .engine.tree import ROOT, Ended, Tree

PASSES, FAILS, UNKNOWN = "#1a7f37", "#cf222e", "#8c959f"
PASSED = "passed"


def draw_search(tree: Tree, path: Path, kind: str) -> None:
    """Write the picture to `path`; `kind` is png or svg. Depth is in tokens; equal beginnings are one line, as they
    are one path in the tree.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = heights(tree)
    figure = Figure(figsize=(8, 0.9 + 0.28 * len(tree.rollouts)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = node_colours(tree)
    for before, first, last in stretches(tree, colours):
        line = [(tree.depth_of(node), places[node]) for node in (before, first, last)]
        axes.plot(*zip(*line, strict=True), color=colours[first], linewidth=1.6, solid_capstyle="round")
    best = tree.metadata.get("best")
    for row, leaf in enumerate(tree.rollouts.leaf.tolist()):
        _label(axes, tree, row, places[leaf], row == best)
    axes.set_xlabel("tokens")
    axes.set_yticks([])
    axes.set_xlim(-1, max((tree.depth_of(leaf) for leaf in tree.rollouts.leaf.tolist()), default=1) * 1.45)
    axes.spines[["left", "top", "right"]].set_visible(False)
    with matplotlib.rc_context({"svg.hashsalt": "search", "svg.fonttype": "none"}):
        figure.savefig(path, dpi=160, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _label(axes: Any, tree: Tree, row: int, height: float, best: bool) -> None:
    verdict, ended = tree.verdicts[row], Ended(int(tree.rollouts.ended[row]))
    times = int(tree.rollouts.multiplicity[row])
    test = "example" if "best" in tree.metadata else "test"  # datasets are judged by all tests, and have no best
    words = f"passes the {test}s" if verdict == PASSED else f"fails {'an' if test == 'example' else 'a'} {test}"
    words = ended.name.lower() if verdict is None else words
    text = f"{words}{f', {times} times' if times > 1 else ''}"
    depth, colour = tree.depth_of(int(tree.rollouts.leaf[row])), _colour(verdict)
    axes.plot([depth], [height], "o" if verdict == PASSED else "x", color=colour, markersize=9 if best else 5)
    style = {"fontweight": "bold"} if best else {}
    axes.annotate(
        f"{text}: printed" if best else text,
        (depth, height),
        (9, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        **style,
    )


def node_colours(tree: Tree) -> list[str]:
    """Of each node: whether a candidate through it passes, none does, or it is not known."""
    found: list[str | None] = [None] * len(tree)
    for row, leaf in enumerate(tree.rollouts.leaf.tolist()):
        for node in tree.path(leaf).tolist():
            found[node] = PASSED if PASSED in (found[node], tree.verdicts[row]) else found[node] or tree.verdicts[row]
    return [_colour(verdict) for verdict in found]


def stretches(tree: Tree, colours: list[str]) -> list[tuple[int, int, int]]:
    """(the node before, the first, the last) of each stretch of one colour without a fork: a line of the picture each."""
    parents = tree.nodes.parent.tolist()
    forks = {parent for parent, count in Counter(parents).items() if count > 1} | {ROOT}
    last_of: dict[int, tuple[int, int]] = {}  # by a stretch's last node so far, where it begins
    for node, parent in enumerate(parents):
        goes_on = parent not in forks and parent in last_of and colours[parent] == colours[node]
        last_of[node] = last_of.pop(parent) if goes_on else (parent, node)
    return [(*begins, last) for last, begins in last_of.items()]


def _colour(verdict: str | None) -> str:
    return UNKNOWN if verdict is None else PASSES if verdict == PASSED else FAILS


def heights(tree: Tree) -> np.ndarray:
    """Where each node stands, [nodes + 1] with the root's at the end: candidates one below the other in the tree's order, what
    they share in their middle.
    """
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.nodes.parent.tolist()):
        children.setdefault(parent, []).append(node)
    order: list[int] = []
    stack = [ROOT]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += children.get(node, [])
    places, ends = np.zeros(len(tree) + 1), 0
    for node in order:
        if node not in children:
            places[node], ends = -ends, ends + 1
    for node in reversed(order):
        if node in children:
            places[node] = np.mean(places[children[node]])
    return places
