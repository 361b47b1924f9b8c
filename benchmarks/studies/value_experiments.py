"""What each choice in a value model is worth: one factor at a time, trained on some trees, compared on validation problems.

    python -m guided_gen.benchmarks.studies.value_experiments --data DIR --validation DIR --out OUT
    ... --kept 25 --kept 50 --kept 100 --kept 200 --only probe     # a learning curve

Every variant differs from `BASE` in what its line says. Results are appended to OUT/experiments.jsonl, where the same
command goes on; OUT/experiments.md is the table, OUT/learning-curve.png what more training problems bring. The split untouched
has no part in it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import matplotlib

from ...engine.errors import DataError

matplotlib.use("Agg")
from matplotlib import pyplot

from ...data_builder.build_settings import order_key
from ...engine.files import replaced_atomically, write_atomically
from ...engine.models.files import resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.tokenizer_loading import load_tokenizer
from ...engine.scorers import LOGPROB, VALUE
from ...value_data import answer_reader, load_prompted_trees
from ...valuemodel.evaluation import evaluate
from ...valuemodel.examples import make_examples
from ...valuemodel.fitting import Shape, base_states, check_data, fit_value_model, load_statement, scored_trees
from ...valuemodel.heads import HeadSettings
from ...valuemodel.packing import PromptedTree
from ...valuemodel.rollout_table import RolloutTable, rollout_table
from ...valuemodel.targets import Kind
from ...valuemodel.training import TrainingSettings, Tune

_RESAMPLES = 200


@dataclass(frozen=True)
class Variant:
    """One way to make a value model. `tries`, `excluded`: also train on main rollouts that did not become the trunk, and on the
    problems that have nothing else."""

    tune: Tune = "head"
    fork_layer: int = 20
    tail_layers: int = 0
    features: tuple[str, ...] = ("mean", "logprob")
    hidden: int = 0
    targets: Kind = "binary"
    balanced: bool = False
    tries: bool = True
    excluded: bool = True
    learning_rate: float = 1e-4


BASE = Variant()
_TUNED = replace(BASE, tune="lora", tail_layers=2, excluded=False, learning_rate=3e-4)
VARIANTS: dict[str, Variant] = {
    "probe": BASE,
    **{f"probe above layer {layer}": replace(BASE, fork_layer=layer) for layer in (16, 18, 22, 24)},
    "probe, last state (the paper's)": replace(BASE, features=("last",)),
    "probe, running mean": replace(BASE, features=("mean",)),
    "probe, last, mean, logprob": replace(BASE, features=("last", "mean", "logprob")),
    "probe, 32 hidden units": replace(BASE, hidden=32),
    "probe, soft": replace(BASE, targets="soft"),
    "probe, balanced": replace(BASE, balanced=True),
    "probe, no tries": replace(BASE, tries=False, excluded=False),
    "probe, no excluded problems": replace(BASE, excluded=False),
    "probe, balanced, no excluded problems": replace(BASE, balanced=True, excluded=False),
    "LoRA, 2 blocks, no excluded problems": _TUNED,
    "LoRA, 2 blocks, 1e-4": replace(_TUNED, learning_rate=1e-4),
    "LoRA, 2 blocks, 1e-3": replace(_TUNED, learning_rate=1e-3),
    "LoRA, 1 block": replace(_TUNED, tail_layers=1),
    "LoRA, 4 blocks": replace(_TUNED, tail_layers=4),
    "LoRA, 2 blocks above layer 22": replace(_TUNED, fork_layer=22),
    "LoRA, 2 blocks, soft": replace(_TUNED, targets="soft"),
    "LoRA, 2 blocks": replace(_TUNED, excluded=True),
    "full, 2 blocks, 1e-4": replace(_TUNED, tune="full", learning_rate=1e-4),
    "full, 2 blocks, 3e-5": replace(_TUNED, tune="full", learning_rate=3e-5),
    "full, 2 blocks, 3e-5, last state (the paper's)": replace(_TUNED, tune="full", learning_rate=3e-5, features=("last",)),
}


def some_trees(trees: Sequence[PromptedTree], kept: int, seed: int) -> list[PromptedTree]:
    """The first trees, in an order by a hash, that hold `kept` forked ones; the rest come with them in proportion. Fewer are a
    part of more."""
    chosen: list[PromptedTree] = []
    forked = 0
    for one in sorted(trees, key=lambda one: order_key(one.problem, seed)):
        if forked == kept:
            break
        chosen.append(one)
        forked += one.tree.metadata["status"] == "kept"
    return chosen


def training_trees(variant: Variant, chosen: Sequence[PromptedTree], bare: Sequence[PromptedTree]) -> list[PromptedTree]:
    """What a variant trains on, of the chosen trees and the same without tries (`bare`)."""
    names = {one.problem for one in chosen}
    trees = list(chosen) if variant.tries else [one for one in bare if one.problem in names]
    return trees if variant.excluded else [one for one in trees if one.tree.metadata["status"] == "kept"]


def run_variant(
    variant: Variant, training: Sequence[PromptedTree], validation: Sequence[PromptedTree], base: Path, cache: Path | None
) -> dict[str, Any]:
    """Train and evaluate one: its figures as plain numbers."""
    shape = Shape(variant.fork_layer, variant.tail_layers, HeadSettings(variant.features, variant.hidden))
    settings = TrainingSettings(
        tune=variant.tune, targets=variant.targets, balanced=variant.balanced, learning_rate=variant.learning_rate
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        model, history = fit_value_model(training, validation, base, shape, settings, Path(out), cache)
        seconds = time.perf_counter() - start
        scored, statement = scored_trees(Path(out), base, validation, cache), load_statement(Path(out))
    table = rollout_table(scored, statement, answer_reader(load_tokenizer(base)))
    fitted = {"head_fit": history.head_fit, "validation_losses": history.validation}
    return {"seconds": round(seconds), **fitted, **figures(table, model.settings.training["calibration"])}


def figures(table: RolloutTable, calibration: dict[str, float]) -> dict[str, Any]:
    """What variants are compared by, for the value and for the mean log-probability."""
    report = evaluate(table, calibration["base_rate"], resamples=_RESAMPLES)
    found: dict[str, Any] = {"data": report["data"]}
    ranking, best_of = report["ranking"], report["best_of"]["scorers"]
    for scorer in (VALUE, LOGPROB):
        own = ranking[scorer]
        found[scorer] = {
            **{name: own[name] for name in ("within_problem_auroc", "length_matched_auroc", "brier_skill", "calibration_error")},
            **{f"gap closed, pass@{k}": best_of[scorer][f"gap@{k}"] for k in (1, 3)},
            "within_problem_auroc by tokens": {
                row["seen"]: row["scorers"][scorer]["within_problem_auroc"] for row in report["by_tokens"]
            },
        }
    return found


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The results in Markdown, in the order of `VARIANTS` and of the number of trees."""
    columns = ["variant", "kept", "problems", "AUROC within problems", "after 32", "length-matched"]
    columns += ["gap closed, pass@1", "pass@3", "Brier skill", "s"]
    rows = [f"| {' | '.join(columns)} |", "|-" * len(columns) + "|", _row("mean log-probability", lines[0], LOGPROB)]
    order = list(VARIANTS)
    for line in sorted(lines, key=lambda line: (order.index(line["variant"]), line["setting"]["kept"])):
        rows.append(_row(line["variant"], line, VALUE))
    return "\n".join(rows) + "\n"


def _row(name: str, line: dict[str, Any], scorer: str) -> str:
    own, setting, trained = line[scorer], line["setting"], scorer == VALUE
    early, auroc = own["within_problem_auroc by tokens"]["32"], own["within_problem_auroc"]
    cells = [
        str(setting["kept"]) if trained else "",
        str(setting["training_problems"]) if trained else "",
        f"{_figure(auroc, '.3f')} [{_figure(auroc, '.3f', 'low')}, {_figure(auroc, '.3f', 'high')}]",
        _figure(early, ".3f"),
        _figure(own["length_matched_auroc"], ".3f"),
        *(_figure(own[f"gap closed, pass@{k}"], ".0%") for k in (1, 3)),
        _figure(own["brier_skill"], ".3f"),
        str(line["seconds"]) if trained else "",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def _figure(found: dict[str, float | None], form: str, which: str = "value") -> str:
    number = found[which]
    return "-" if number is None else f"{number:{form}}"


def plot_learning_curve(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """AUROC within problems against the number of training problems, for every variant that was trained on several numbers."""
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in VARIANTS:
        own = sorted((line for line in lines if line["variant"] == name), key=lambda line: line["setting"]["training_problems"])
        if len(own) < 2:
            continue
        problems = [line["setting"]["training_problems"] for line in own]
        for key, style in (("value", "o-"), ("low", ":"), ("high", ":")):
            shown = [line[VALUE]["within_problem_auroc"][key] for line in own]
            colour = axes.lines[-1].get_color() if key != "value" else None
            axes.plot(problems, shown, style, color=colour, label=name if key == "value" else None)
    axes.axhline(lines[0][LOGPROB]["within_problem_auroc"]["value"], color="grey", ls="--", label="mean log-probability")
    axes.set(xlabel="training problems, excluded ones included", ylabel="AUROC within problems (validation)", xscale="log")
    axes.legend()
    with replaced_atomically(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    pyplot.close(figure)


def write_tables(out: Path) -> None:
    """The table and the plot of all results in OUT/experiments.jsonl."""
    lines = [json.loads(line) for line in (out / "experiments.jsonl").read_text().splitlines()]
    write_atomically(out / "experiments.md", table(lines))
    plot_learning_curve(lines, out / "learning-curve.png")


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Forked trees.")
@click.option(
    "--validation", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Independent ones."
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--kept",
    default=(100,),
    show_default=True,
    multiple=True,
    help="Train on so many forked trees, and the excluded ones among them; given again, a learning curve.",
)
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Only this variant; may be given again.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Which trees.")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), default=None, help="Where states are kept.")
def main(
    data: Path,
    validation: Path,
    out: Path,
    kept: tuple[int, ...],
    only: tuple[str, ...],
    model: str,
    seed: int,
    cache: Path | None,
) -> None:
    """Run all variants that OUT does not hold yet."""
    base = resolve_model(model)
    tokenizer = load_tokenizer(base)
    trees, bare = (load_prompted_trees([data], tokenizer, tries=tries) for tries in (True, False))
    held_out = load_prompted_trees([validation], tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "experiments.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if any((line["setting"]["seed"], line["setting"]["validation_problems"]) != (seed, len(held_out)) for line in lines):
        raise DataError(f"{path} holds results of other data or settings: choose another folder")
    done = {(line["variant"], line["setting"]["kept"]) for line in lines}
    missing = [(name, count) for name in only or VARIANTS for count in kept if (name, count) not in done]
    training = {(name, count): training_trees(VARIANTS[name], some_trees(trees, count, seed), bare) for name, count in missing}
    if missing:  # one pass of the base for all of them
        needed = {id(one): one for chosen in training.values() for one in chosen}
        layers = sorted({VARIANTS[name].fork_layer for name, _ in missing})
        made_for = check_data(list(needed.values()), held_out, base)
        base_states(make_examples([*needed.values(), *held_out]), base, made_for, layers, cache)
    for (name, count), chosen in training.items():
        variant = VARIANTS[name]
        setting = {"kept": count, "seed": seed, "training_problems": len(chosen), "validation_problems": len(held_out)}
        result = run_variant(variant, chosen, held_out, base, cache)
        line = {"variant": name, "setting": setting, "choices": asdict(variant), **result}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        write_tables(out)
        click.echo(_row(name, line, VALUE))
    if not missing:
        write_tables(out)


if __name__ == "__main__":
    main()
