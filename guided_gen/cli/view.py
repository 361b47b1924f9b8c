"""`guided-gen view`: one self-contained HTML page that shows searches."""

from __future__ import annotations

from pathlib import Path

import click

from ..engine.errors import GuidedGenError


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("tree", type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("page.html"), help="The page.")
@click.option("--model", default=None, help="Whose tokens these are.  [default: the model that the trees name]")
@click.option("--statement", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The problem's text, to show it.")
@click.option("--problem", "wanted", multiple=True, help="Only the trees of this problem; may be repeated.")
@click.option("--limit", default=20, help="Most trees on the page.")
def command(tree: Path, out: Path, model: str | None, statement: Path | None, wanted: tuple[str, ...], limit: int) -> None:
    """Show TREE, a search that `guided-gen solve --save` wrote or a dataset's folder, on one HTML page that needs no network."""
    from ..engine.files import replaced_atomically
    from ..engine.loading import load_tokenizer
    from ..engine.model_files import resolve_model
    from ..engine.tree import load_trees
    from ..page import page
    from ..search_page_data import search_data

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
    names = {model or str(one.metadata.get("model") or "") for one in trees[:limit]}
    if len(names) > 1 or "" in names:
        raise GuidedGenError("these trees do not name one model whose tokens they hold: name it with --model")
    tokenizer = load_tokenizer(resolve_model(names.pop()))
    text = statement.read_text(encoding="utf-8") if statement else None
    html = page([search_data(one, tokenizer, text) for one in trees[:limit]], title=f"guided-gen: {tree.name}")
    with replaced_atomically(out) as temporary:
        Path(temporary).write_text(html, encoding="utf-8")
    click.echo(f"{len(trees[:limit])} searches in {out}", err=True)
