"""`guided-gen view`: one self-contained HTML page that shows searches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.errors import GuidedGenError
from .options import source_option

if TYPE_CHECKING:
    from ..engine.tree import Tree

PICTURES = (".png", ".svg")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("tree", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("page.html"), help="The page, or a picture.")
@click.option("--model", default=None, help="Whose tokens these are.  [default: the model that the trees name]")
@click.option("--statement", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The problem's text, to show it.")
@click.option("--problem", "wanted", multiple=True, help="Only the trees of this problem; may be repeated.")
@source_option
@click.option("--limit", default=20, help="Most trees on the page.")
def command(
    tree: Path, out: Path, model: str | None, statement: Path | None, wanted: tuple[str, ...], problems: str | None, limit: int
) -> None:
    """Show TREE on one HTML page that needs no network: a search that `guided-gen solve --save` wrote, a dataset's folder, or the
    results of `guided-gen bench`. An OUT that ends with .png or .svg is a picture of the first search.

    Where a dataset's problems are on this machine, the page has their statements, and of each wrong program the test that it
    fails: it is run again in the judge's sandbox.
    """
    text = statement.read_text(encoding="utf-8") if statement else None
    if out.suffix in PICTURES:
        _draw(tree, wanted, out)
        return
    if _is_results(tree):
        html, shown = _results_page(tree), "results"
    else:
        html, shown = _trees_page(tree, model, text, wanted, problems, limit)
    from ..engine.files import write_atomically

    write_atomically(out, html)
    click.echo(f"{shown} in {out}", err=True)


def _is_results(path: Path) -> bool:
    from ..benchmarks.results import JUDGED, REPLAYS

    names = [f"{name}{end}" for name in (JUDGED, REPLAYS) for end in ("", ".gz")]
    return any((path / name).is_file() for name in names) if path.is_dir() else ".jsonl" in path.suffixes


def _results_page(path: Path) -> str:
    from ..benchmarks.report import figures
    from ..benchmarks.report_page import report_page
    from ..benchmarks.results import JUDGED, REPLAYS, lines_in, read_results

    results = read_results([lines_in(path, JUDGED, REPLAYS)])
    return report_page(figures(results), results, [])


def _trees_page(
    tree: Path, model: str | None, text: str | None, wanted: tuple[str, ...], problems: str | None, limit: int
) -> tuple[str, str]:
    from ..engine.models.files import resolve_model
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..page import page
    from ..search_page_data import search_data

    trees = _trees(tree, wanted, limit)
    if any("pieces" in one.metadata for one in trees):
        return _page_of_pieces(tree, trees, text)
    names = {model or str(one.metadata.get("model") or "") for one in trees}
    if len(names) > 1 or "" in names:
        raise GuidedGenError("these trees do not name one model whose tokens they hold: name it with --model")
    name = names.pop()
    try:
        tokenizer = load_tokenizer(resolve_model(name))
    except GuidedGenError as error:
        raise GuidedGenError(
            f"the tokens are those of {name}, which is not found; name its folder with --model ({error})"
        ) from None
    texts = [text] * len(trees)
    if (tree / "settings.json").is_file():
        texts = [text or statement for statement in _statements(tree, trees, tokenizer, problems)]
    searches = [search_data(one, tokenizer, statement) for one, statement in zip(trees, texts, strict=True)]
    return page(searches, title=f"guided-gen: {tree.name}"), f"{len(trees)} searches"


def _statements(folder: Path, trees: Sequence[Tree], tokenizer: Any, problems: str | None) -> list[str | None]:
    """Those of a dataset's trees, whose failing tests are added; all None, which is told, where `problems` are not named and
    those of the build are not there.
    """
    from ..dataset_view import add_failures, dataset_problems

    try:
        texts = dataset_problems(folder, problems)
        add_failures(trees, texts, tokenizer)
    except GuidedGenError as error:
        if problems is not None:
            raise
        click.echo(f"Without statements and failing tests: {error}", err=True)
        return [None] * len(trees)
    return [texts.problem(one).statement for one in trees]


def _trees(tree: Path, wanted: tuple[str, ...], limit: int) -> list[Tree]:
    from ..engine.tree import load_trees

    paths = sorted(tree.glob("trees/*.parquet")) if tree.is_dir() else [tree]
    if not paths:
        raise GuidedGenError(f"{tree} is not a dataset's folder: it has no trees/*.parquet")
    trees = []
    for path in paths:
        trees += [one for one in load_trees(path) if not wanted or one.metadata.get("problem") in wanted]
        if len(trees) >= limit:
            break
    if not trees:
        raise GuidedGenError(f"{tree} holds no tree{' of these problems' if wanted else ''}")
    return trees[:limit]


def _page_of_pieces(path: Path, trees: Sequence[Tree], text: str | None) -> tuple[str, str]:
    """Of answers of another server, whose trees hold the pieces that they consist of."""
    from ..engine.openai_backend.pieces import PieceTokenizer
    from ..page import page
    from ..search_page_data import search_data

    searches = [search_data(one, PieceTokenizer(one.metadata.pop("pieces")), text) for one in trees if "pieces" in one.metadata]
    return page(searches, title=f"guided-gen: {path.name}"), f"{len(searches)} searches"


def _draw(tree: Path, wanted: tuple[str, ...], out: Path) -> None:
    from ..engine.files import replaced_atomically
    from ..search_picture import draw_search

    [first] = _trees(tree, wanted, 1)
    with replaced_atomically(out) as temporary:
        draw_search(first, temporary, out.suffix[1:])
    click.echo(f"the search in {out}", err=True)
