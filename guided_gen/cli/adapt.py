"""`guided-gen adapt`: a value model for any model, made, measured and installed by one command."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CONTEXT, OUT_FOLDER, backend_options, judge_options, vllm_settings

if TYPE_CHECKING:
    from ..adapt_plan import Plan
    from ..engine.vllm_backend.settings import VllmSettings
    from .adapt_steps import Done

NOT_INSTALLED = 3  # exit code
_MEASURED = 0.06  # of the time, for the estimate


@click.command(context_settings=CONTEXT)
@click.argument("model")
@click.option("--problems", default="apps", help="apps, mbpp, or a file or folder of problems with tests.")
@click.option("--difficulty", default="introductory", help="Of problems that say how difficult they are, only these.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), default=2.0, help="How long it may take, all in all.")
@click.option("--out", type=OUT_FOLDER, default=None, help="Where everything goes, and goes on.  [default: in the cache folder]")
@click.option("--dry-run", is_flag=True, help="Measure, say what would be done and how long it would take, and stop.")
@click.option("--install-anyway", is_flag=True, help="Install it even if its values are no better than log-probability.")
@backend_options
@click.option("--max-new-tokens", default=512, help="Longest answer, in tokens.")
@click.option("--batch", type=click.IntRange(1), default=64, help="Answers that grow at once; more need more memory.")
@judge_options(workers=1)
@click.option("--seed", default=0)
def command(model: str, out: Path | None, dry_run: bool, install_anyway: bool, **options: Any) -> int:
    """Make a value model for MODEL, a file, folder or hub id, and install it where --value auto finds it.

    MODEL answers problems, a probe learns from its states which answers will be correct, and that and what running them tells are
    measured on other problems. The same command goes on where it stopped.

    Exit codes: 0 installed; 1 an error; 2 a wrong option; 3 its values are no better than log-probability, and nothing was
    installed; 130 interrupted.
    """
    vllm = vllm_settings(options)  # before the model is looked for
    from ..adapt_plan import PLAN, Plan
    from ..engine.models.files import cache_dir, model_identity, resolve_model
    from ..engine.models.loading import chosen_precision, device_kind
    from .adapt_steps import Done, minutes, run_steps, steps

    path = resolve_model(model)
    identity = model_identity(path)
    precision = chosen_precision(options["precision"], device_kind(), path, options["backend"])
    if Path(options["problems"]).exists():
        options["problems"] = str(Path(options["problems"]).resolve())
    asked = options | {"model": model, "model_sha256": identity.sha256, "precision": precision, "vllm": list(options["vllm"])}
    if out is None:
        name = re.sub(r"[^\w.-]+", "-", identity.name.rpartition("/")[2])
        out = cache_dir() / "adapt" / f"{name}-{identity.sha256[:12]}-{precision}"
    out.mkdir(parents=True, exist_ok=True)
    done = Done.load(out)
    plan = Plan.load(out, asked) or _planned(path, asked, out, vllm)
    _tell(plan, out)
    if dry_run:
        click.echo(f"The same command without --dry-run follows {out / PLAN}", err=True)
        return 0
    done.begin()
    from ..adapt_speed import probe_layer

    run_steps(steps(out, plan, probe_layer(path)), plan, done, out)
    click.echo(f"Done after {minutes(plan.measured + sum(done.seconds.values()))}", err=True)
    return _end(path, plan, out, done, install_anyway)


def _planned(path: Path, asked: dict[str, Any], out: Path, vllm: VllmSettings | None) -> Plan:
    """A new plan, from what a few problems take; their answers stay."""
    from ..adapt_plan import TRAINING, made_plan, problem_parts
    from ..adapt_speed import measured_speed
    from ..engine.models.loading import load_model
    from ..engine.models.tokenizer_loading import load_tokenizer
    from . import build
    from .adapt_steps import build_step, data_folder

    start = time.perf_counter()
    training, others = problem_parts(asked["problems"], asked["difficulty"], load_tokenizer(path), asked["seed"])
    step = build_step(out, asked, TRAINING, training.split)
    options = build.command.make_context("build", step.arguments()[1:]).params
    begun = time.perf_counter()
    loaded = load_model(asked["model"], asked["precision"], backend=asked["backend"], vllm=vllm)
    loading = time.perf_counter() - begun
    settings = build.build_settings(options)
    record = build.build_record(options, settings, loaded)
    folder, seconds = data_folder(out, TRAINING), _MEASURED * asked["hours"] * 3600
    speed, built = measured_speed(loaded, loading, training.problems, settings, record, folder, options, seconds)
    plan = made_plan(asked, training, others, built, speed, time.perf_counter() - start, asked["hours"])
    plan.save(out)
    return plan


def _tell(plan: Plan, out: Path) -> None:
    from ..adapt_plan import PARTS, ROLLOUTS
    from .adapt_steps import minutes

    counts = ", ".join(f"{len(plan.ids[part])} for {part}" for part in PARTS)
    click.echo(f"{plan.asked['model']} in {plan.asked['precision']}: {ROLLOUTS} answers each to problems, {counts}", err=True)
    for name, seconds in plan.seconds.items():
        click.echo(f"  {name:<24} {minutes(seconds):>8}", err=True)
    left = sum(plan.seconds.values())
    click.echo(f"  {'in all':<24} {minutes(left):>8}, after {minutes(plan.measured)} for this estimate; in {out}", err=True)


def _end(path: Path, plan: Plan, out: Path, done: Done, install_anyway: bool) -> int:
    """Report, install or say why not."""
    from ..adapt_report import card_text, read_worth, time_text
    from ..engine.files import write_atomically
    from ..engine.models.tokenizer_loading import load_tokenizer
    from ..known_values import install
    from ..valuemodel.card import write_results
    from .adapt_steps import EVALUATION, EVIDENCE, VALUE

    worth = read_worth(out / EVALUATION / "evaluation.json", out / EVIDENCE / "evidence.json")
    parts = [*worth.sentences, time_text(plan, done.seconds, done.starts)]
    text = "\n\n".join(parts)
    write_atomically(out / "report.md", f"# {plan.asked['model']}\n\n{text}\n")
    write_results(out / VALUE, card_text(worth, load_tokenizer(path).prompt_form, plan.asked["backend"]))
    click.echo(text)
    click.echo(f"\nThe figures: {out / EVALUATION / 'report.html'} and {out / EVIDENCE / 'evidence.md'}")
    if not (worth.better or install_anyway):
        click.echo("Nothing was installed; --install-anyway would.")
        return NOT_INSTALLED
    click.echo(f"Installed: {install(out / VALUE)}")
    backend = "" if plan.asked["backend"] == "torch" else f" --backend {plan.asked['backend']}"
    click.echo(f"It is used by: guided-gen solve problem.txt --model {plan.asked['model']}{backend}")
    return 0
