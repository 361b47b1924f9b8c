"""`guided-gen export`: a value model for programs that know nothing of it."""

from __future__ import annotations

from pathlib import Path

import click

from .options import CONTEXT, FOLDER, OUT_FOLDER


@click.command(context_settings=CONTEXT)
@click.option("--value", required=True, type=FOLDER, help="The value model.")
@click.option("--out", required=True, type=OUT_FOLDER, help="Where the classifier goes.")
@click.option("--model", default=None, help="The base model.  [default: the one that it was trained for]")
def command(value: Path, out: Path, model: str | None) -> None:
    """Write a value model as a stock sequence classifier of transformers, which vLLM serves too.

    It holds all layers, so it is as large as the base. A label is a number that the head emits at a token; config.json says,
    under guided_gen_value, how they make a value.
    """
    from ..engine.models.files import model_identity, resolve_model
    from ..engine.models.loading import load_weights
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..valuemodel.attach import export_classifier
    from ..valuemodel.made_for import ValueModelMismatch
    from ..valuemodel.model import ValueModel

    made_for = ValueModel.made_for(value)
    base = resolve_model(model or made_for.model)
    identity = model_identity(base)
    if identity.sha256 != made_for.model_sha256:
        raise ValueModelMismatch(f"this value model was trained for {made_for.model}, not for {identity.name}")
    values = ValueModel.from_pretrained(value, base)
    export_classifier(values, load_weights(base, "float32"), out)
    load_tokenizer(base).save(out)
    click.echo(out)
