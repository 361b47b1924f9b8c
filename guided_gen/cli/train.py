"""`guided-gen train`: a value model from judged trees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CONTEXT, FOLDER, OUT_FOLDER, cache_option, generator_option, source_option

if TYPE_CHECKING:
    from ..valuemodel.packing import PromptedTree


@click.command(context_settings=CONTEXT)
@click.option("--data", required=True, multiple=True, type=FOLDER, help="A dataset of guided-gen build; may be given again.")
@click.option("--validation", multiple=True, type=FOLDER, help="Data of other problems, best of independent rollouts.")
@click.option("--validation-share", default=0.1, help="Without --validation: the share of the problems held out.")
@click.option("--out", required=True, type=OUT_FOLDER, help="The value model's folder.")
@generator_option
@click.option("--as-text", is_flag=True, help="The base is another model than wrote the answers, and reads their text.")
@click.option("--generator", default=None, help="With --as-text: the model that wrote the answers.  [default: as the data say]")
@click.option(
    "--fork-layer", type=int, default=None, help="The first layer of its own.  [default: two below the top; head: the top]"
)
@click.option("--tail-layers", type=int, default=None, help="Layers of its own.  [default: all above the fork layer; head: 0]")
@click.option("--features", default="mean,logprob", help="What the head reads: some of last, mean and logprob.")
@click.option("--hidden", default=0, help="Hidden units of the head, 0 for a linear one.")
@click.option("--tune", type=click.Choice(["full", "lora", "head"]), default="full", help="head: a probe, fitted at once.")
@click.option("--lora-rank", type=click.IntRange(1), default=8)
@click.option("--targets", type=click.Choice(["binary", "soft"]), default="binary")
@click.option("--balanced/--imbalanced", default=False, help="Weigh both classes of a problem the same.")
@click.option("--tries/--no-tries", default=True, help="Also train on main rollouts that did not become the trunk.")
@click.option("--epochs", default=2)
@click.option("--learning-rate", default=1e-4, help="The highest: it rises for a tenth of the steps and then falls to 0.")
@click.option("--batch-tokens", default=8192, help="Tokens of a step, prompts included.")
@click.option("--validate-every", default=20, help="Steps between validations, each with a checkpoint.")
@click.option("--patience", default=5, help="Validations without a better loss that end the training; 0: never.")
@click.option("--fit-head-first/--no-fit-head-first", default=True, help="Begin from a head fitted to the untuned tail.")
@click.option("--mixed-precision", type=click.Choice(["no", "bf16", "fp16"]), default="no")
@click.option("--seed", default=0)
@cache_option
@source_option
def command(**options: Any) -> None:
    """Train a value model on DATA and write it to OUT. The same command goes on where an interrupted one stopped.

    `accelerate launch -m guided_gen train ...` runs it on several GPUs.
    """
    from ..value_data import base_folder
    from ..valuemodel.examples import MIXED_NEEDED, mixed_problems
    from ..valuemodel.fitting import Shape, fit_value_model
    from ..valuemodel.heads import HeadSettings
    from ..valuemodel.training import TrainingSettings

    names = ("tune", "targets", "balanced", "epochs", "learning_rate", "batch_tokens", "validate_every", "patience", "seed")
    settings = TrainingSettings(**{name: options[name] for name in (*names, "fit_head_first", "mixed_precision")})
    head = HeadSettings(tuple(part.strip() for part in options["features"].split(",")), options["hidden"])
    shape = Shape(options["fork_layer"], options["tail_layers"], head, options["lora_rank"])
    if options["generator"] and not options["as_text"]:
        raise click.UsageError("--generator is for --as-text, where the base is not the model that wrote the answers")
    base = base_folder(options["data"], options["model"])
    training, validation = _trees(base, options)
    if (mixed := mixed_problems(training)) < MIXED_NEEDED:
        click.echo(
            f"Warning: only {mixed} of the training problems have both correct and wrong answers; with fewer than {MIXED_NEEDED} "
            "hardly anything is learnt that tells answers to one problem apart",
            err=True,
        )
    model, history = fit_value_model(training, validation, base, shape, settings, options["out"], options["cache"])
    record = model.settings.training
    calibration = record["calibration"]
    click.echo(
        f"{record['training_problems']} problems, {record['training_tokens']} tokens, {record['steps']} steps; validation loss "
        f"{history.best_loss:.4f} nats; scale {calibration['scale']:.2f}, shift {calibration['shift']:.2f}",
        err=True,
    )
    click.echo(options["out"])


def _trees(base: Path, options: dict[str, Any]) -> tuple[list[PromptedTree], list[PromptedTree]]:
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..value_data import TextBase, base_folder, load_prompted_trees, problems_of, split_by_problem

    generator = base_folder(options["data"], options["generator"]) if options["as_text"] else base
    tokenizer = load_tokenizer(generator)
    text_base = TextBase.of(base, generator) if options["as_text"] else None

    def load(data: Sequence[Path], tries: bool) -> list[PromptedTree]:
        problems = problems_of(data, options["problems"])
        return load_prompted_trees(data, tokenizer, tries=tries, problems=problems, text_base=text_base)

    data = load(options["data"], options["tries"])
    if not options["validation"]:
        return split_by_problem(data, options["validation_share"], options["seed"])
    return data, load(options["validation"], tries=True)
