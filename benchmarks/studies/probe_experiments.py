"""What a linear probe could read besides one layer's mean, and what it could be fitted to: one factor at a time, nothing shipped.

    python -m guided_gen.benchmarks.studies.probe_experiments --data DIR --validation DIR --out OUT

Every rollout is looked at after 32 tokens and at its end. A variant is a set of features (layers, last states, states at line
ends, its siblings' mean at the same place) and a loss (binary cross-entropy, within-problem pairs, both). The penalty is the one
with the best AUROC within problems over three folds of the training problems, which is the column `training`; then the probe is
fitted to all of them, and `validation` is the other data. OUT/probes.jsonl holds what is done, OUT/probes.md is the table.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from ...data_builder.build_settings import order_key
from ...engine.files import write_atomically
from ...engine.models.files import resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.tokenizer_loading import load_tokenizer
from ...engine.progress import stage
from ...value_data import load_prompted_trees
from ...valuemodel import metrics
from ...valuemodel.examples import make_examples
from ...valuemodel.fitting import base_states, check_data
from ...valuemodel.packing import PromptedTree, path_means
from ...valuemodel.state_cache import StateCache
from ...valuemodel.targets import outcomes

EARLY = 32
FOLDS = 3
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
PAIRS = 48
"""At most so many pairs of a right and a wrong rollout of one problem at one place."""
BEST_OF = 10

Loss = Literal["binary", "pairs", "both"]


@dataclass(frozen=True)
class Probe:
    """`reads`: what of each layer's states is a feature. `siblings`: their mean apart from the deviation from it, and how far
    that is."""

    layers: tuple[int, ...] = (20,)
    reads: tuple[str, ...] = ("mean",)
    siblings: bool = False
    loss: Loss = "binary"


BASE = Probe()
VARIANTS = {
    "mean of layer 20, binary": BASE,
    "pairs": replace(BASE, loss="pairs"),
    "both": replace(BASE, loss="both"),
    "layer 16": replace(BASE, layers=(16,)),
    "layer 24": replace(BASE, layers=(24,)),
    "layers 16, 20, 24": replace(BASE, layers=(16, 20, 24)),
    "layers 16, 20, 24, both": replace(BASE, layers=(16, 20, 24), loss="both"),
    "last state": replace(BASE, reads=("last",)),
    "mean and last": replace(BASE, reads=("mean", "last")),
    "mean and line ends": replace(BASE, reads=("mean", "lines")),
    "siblings": replace(BASE, siblings=True),
    "siblings, both": replace(BASE, siblings=True, loss="both"),
}
LOGPROB, CENTRALITY = "mean log-probability", "centrality, untrained"


@dataclass(frozen=True)
class Places:
    """R rollouts of P problems at one place. names [P]; problem, counts, correct, mean_logprob [R]; states: by layer and what is
    read, [R, H]."""

    names: list[str]
    problem: np.ndarray
    counts: np.ndarray
    correct: np.ndarray
    mean_logprob: np.ndarray
    states: dict[tuple[int, str], torch.Tensor]


def places(trees: Sequence[PromptedTree], caches: dict[int, StateCache], line_ends: set[int], most: int | None) -> Places:
    """All judged rollouts of `trees` after `most` tokens (the last where there are fewer), or at their ends."""
    names = sorted({one.problem for one in trees})
    number = {name: i for i, name in enumerate(names)}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("problem", "counts", "correct", "mean_logprob")}
    states: dict[tuple[int, str], list[torch.Tensor]] = {(layer, read): [] for layer in caches for read in _READS}
    with stage(f"Features of {len(trees)} trees", total=float(len(trees))) as advance:
        for i, (one, example) in enumerate(zip(trees, make_examples(trees), strict=True)):
            found, pack = outcomes(one.tree), example.pack
            row_of = np.empty(len(one.tree), np.int64)
            row_of[pack.nodes.numpy()] = np.arange(len(pack.rows))
            nodes = [_node_at(one, leaf, most) for leaf in found.leaves.tolist()]
            rows = torch.from_numpy(row_of[nodes])
            columns["problem"].append(np.full(len(rows), number[one.problem]))
            columns["counts"].append(found.counts)
            columns["correct"].append(found.correct)
            columns["mean_logprob"].append(example.mean_logprob[rows].numpy())
            at_end = torch.tensor([int(token) in line_ends for token in one.tree.nodes.token_id[pack.nodes.numpy()]]).float()
            lines = path_means(at_end[:, None], pack)
            for layer, cache in caches.items():
                own = cache[example.key][pack.rows].float()
                own = own / own.square().mean(dim=1, keepdim=True).sqrt()
                mean = path_means(own, pack)
                of_lines = path_means(own * at_end[:, None], pack) / lines.clamp_min(1e-9)
                read = {"mean": mean, "last": own, "lines": torch.where(lines > 0, of_lines, mean)}
                for name, numbers in read.items():
                    states[layer, name].append(numbers[rows])
            advance(i + 1)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return Places(names, **joined, states={name: torch.cat(parts) for name, parts in states.items()})


_READS = ("mean", "last", "lines")


def _node_at(one: PromptedTree, leaf: int, most: int | None) -> int:
    path = one.tree.path(leaf)
    return int(path[-1] if most is None else path[min(most, len(path)) - 1])


def features(probe: Probe, at: Places) -> torch.Tensor:
    """[R, F]: the states that a probe reads, and the mean log-probability last."""
    blocks = []
    for layer in probe.layers:
        for read in probe.reads:
            own = at.states[layer, read]
            if not probe.siblings:
                blocks.append(own)
                continue
            middle = _means_by_problem(at, own)
            blocks += [middle, own - middle, (own - middle).square().sum(dim=1, keepdim=True).sqrt()]
    logprob = torch.from_numpy(at.mean_logprob).float()[:, None]
    blocks += [logprob, logprob - _means_by_problem(at, logprob)] if probe.siblings else [logprob]
    return torch.cat(blocks, dim=1)


def _means_by_problem(at: Places, numbers: torch.Tensor) -> torch.Tensor:
    """The mean over all rollouts of each one's problem, [R, ...] as `numbers`."""
    counts, problem = torch.from_numpy(at.counts).float()[:, None], torch.from_numpy(at.problem)
    sums = torch.zeros(len(at.names), numbers.shape[1]).index_add_(0, problem, numbers * counts)
    total = torch.zeros(len(at.names), 1).index_add_(0, problem, counts)
    means: torch.Tensor = (sums / total.clamp_min(1))[problem]
    return means


def centrality(at: Places, layer: int) -> np.ndarray:
    """How near a rollout's mean state is to its siblings' mean, [R]: agreement without running anything, untrained."""
    own = at.states[layer, "mean"]
    distance: np.ndarray = -(own - _means_by_problem(at, own)).square().sum(dim=1).sqrt().numpy()
    return distance


# -- fitting


@dataclass(frozen=True)
class _Data:
    """rows [R, F]; labels, weights [R]; right, wrong [pairs], rows of the same problem and place, with weights."""

    rows: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    right: torch.Tensor
    wrong: torch.Tensor
    pair_weights: torch.Tensor


def _data(parts: Sequence[tuple[torch.Tensor, Places]], chosen: Sequence[np.ndarray]) -> _Data:
    """Of several places the rows [R] that `chosen` names; every problem weighs 1, and so do the pairs of every mixed one."""
    rows, labels, weights, pairs, pair_weights = [], [], [], [], []
    before, rng = 0, np.random.default_rng(0)
    for (numbers, at), which in zip(parts, chosen, strict=True):
        problem, counts, correct = at.problem[which], at.counts[which].astype(float), at.correct[which]
        total = np.bincount(problem, counts, len(at.names))
        rows.append(numbers[torch.from_numpy(which)])
        labels.append(correct.astype(float))
        weights.append(counts / total[problem])
        for number in np.unique(problem):
            own = np.flatnonzero(problem == number)
            all_pairs = np.asarray([(r, w) for r in own[correct[own]] for w in own[~correct[own]]])
            if not len(all_pairs):
                continue
            mass = counts[all_pairs[:, 0]] * counts[all_pairs[:, 1]]
            some = rng.choice(len(all_pairs), min(PAIRS, len(all_pairs)), replace=False, p=mass / mass.sum())
            pairs.append(all_pairs[some] + before)
            pair_weights.append(np.full(len(some), 1 / len(some)))
        before += len(which)
    joined = torch.from_numpy(np.concatenate(pairs))
    numbers_of = [torch.from_numpy(np.concatenate(column)).float() for column in (labels, weights, pair_weights)]
    return _Data(torch.cat(rows), numbers_of[0], numbers_of[1], joined[:, 0], joined[:, 1], numbers_of[2])


def fit(data: _Data, loss: Loss, penalties: Sequence[float]) -> list[torch.Tensor]:
    """Weights [F] of standardised features' linear scores, for the units that the features come in, one for each penalty; all
    but the last feature, the log-probability, are penalised."""
    share = (data.weights / data.weights.sum())[:, None]
    centre = (share * data.rows).sum(0)
    deviation = (share * (data.rows - centre).square()).sum(0).sqrt().clamp_min(1e-6)
    rows = (data.rows - centre) / deviation
    weights = torch.zeros(rows.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    fitted = []
    for penalty in penalties:
        optimizer = torch.optim.LBFGS([weights, bias], max_iter=40, history_size=20, line_search_fn="strong_wolfe")

        def closure(optimizer: torch.optim.LBFGS = optimizer, penalty: float = penalty) -> torch.Tensor:
            optimizer.zero_grad()
            scores = rows @ weights
            total = penalty / 2 * weights[:-1].square().sum()
            if loss != "pairs":
                binary = binary_cross_entropy_with_logits(scores + bias, data.labels, weight=data.weights, reduction="sum")
                total = total + binary / data.weights.sum()
            if loss != "binary":
                apart = softplus(scores[data.wrong] - scores[data.right])
                total = total + (apart * data.pair_weights).sum() / data.pair_weights.sum()
            total.backward()  # type: ignore[no-untyped-call]
            return total

        optimizer.step(closure)  # type: ignore[arg-type,no-untyped-call]
        fitted.append((weights / deviation).detach().clone())
    return fitted


# -- comparing


def aurocs(at: Places, scores: np.ndarray) -> np.ndarray:
    """AUROC within each problem, NaN where there is none, [P]."""
    return metrics.within_problem(
        at.problem, len(at.names), lambda rows: metrics.auroc(scores[rows], at.correct[rows], at.counts[rows])
    )


def _passing(at: Places, scores: np.ndarray, k: int) -> np.ndarray:
    return metrics.within_problem(
        at.problem, len(at.names), lambda rows: metrics.pass_of_top(scores[rows], at.correct[rows], at.counts[rows], k, BEST_OF)
    )


def figures(validation: Sequence[Places], both_scores: Sequence[np.ndarray]) -> dict[str, Any]:
    """Of a score on validation problems, early and at the end: AUROC within problems at both places and the gap closed, best of
    10, against mean log-probability on the same problems."""
    (early, end), (early_scores, scores) = validation, both_scores
    weights = metrics.problem_weights(len(end.names))
    mean = partial(metrics.mean_of_defined, weights=weights)
    found: dict[str, Any] = {
        "auroc": metrics.shown(mean(aurocs(end, scores))),
        "early": metrics.shown(mean(aurocs(early, early_scores))),
        "over_logprob": metrics.shown(mean(aurocs(end, scores) - aurocs(end, end.mean_logprob))),
    }
    for k in (1, 3):
        floor, top = (mean(_passing(end, bound, k)) for bound in (np.zeros(len(scores)), end.correct.astype(float)))
        found[f"gap@{k}"] = metrics.shown(metrics.divided(mean(_passing(end, scores, k)) - floor, top - floor))
    return found


def run_probe(probe: Probe, training: Sequence[Places], validation: Sequence[Places]) -> dict[str, Any]:
    """Choose the penalty by three folds of the training problems, fit to all, compare on validation. Places: early, end."""
    parts = [(features(probe, at), at) for at in training]
    fold_of = np.asarray([order_key(name, 0)[0] % FOLDS for name in training[0].names])
    held_out = np.zeros((len(PENALTIES), len(training[-1].problem)))
    for fold in range(FOLDS):
        data = _data(parts, [np.flatnonzero(fold_of[at.problem] != fold) for at in training])
        rows = np.flatnonzero(fold_of[training[-1].problem] == fold)
        for i, weights in enumerate(fit(data, probe.loss, PENALTIES)):
            held_out[i, rows] = (parts[-1][0][torch.from_numpy(rows)] @ weights).numpy()
    over_training = [float(np.nanmean(aurocs(training[-1], scores))) for scores in held_out]
    best = int(np.argmax(over_training))
    everything = _data(parts, [np.arange(len(at.problem)) for at in training])
    chosen = fit(everything, probe.loss, PENALTIES[: best + 1])[-1]
    drawn = metrics.problem_weights(len(training[-1].names))
    in_training = metrics.shown(metrics.mean_of_defined(aurocs(training[-1], held_out[best]), drawn))
    of_validation = figures(validation, [(features(probe, at) @ chosen).numpy() for at in validation])
    return {"penalty": PENALTIES[best], "training": in_training, **of_validation}


def table(lines: Sequence[dict[str, Any]]) -> str:
    """In Markdown, in the order in which they were made."""
    columns = ["variant", "training, three folds", "validation", "against log-probability", f"after {EARLY}"]
    columns += ["gap closed, pass@1", "pass@3"]
    rows = [f"| {' | '.join(columns)} |", "|-" * len(columns) + "|"]
    for line in lines:
        found = line["figures"]
        cells = [line["variant"], _shown(found.get("training"), ".3f")]
        cells += [_shown(found[name], form) for name, form in (("auroc", ".3f"), ("over_logprob", "+.3f"), ("early", ".3f"))]
        cells += [_shown(found[f"gap@{k}"], ".0%") for k in (1, 3)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _shown(found: dict[str, float] | None, form: str) -> str:
    return f"{found['value']:{form}} [{found['low']:{form}}, {found['high']:{form}}]" if found else "-"


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Forked trees.")
@click.option(
    "--validation", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False), help="Independent ones."
)
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Only this variant; may be given again.")
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), default=None, help="Where states are kept.")
def main(data: Path, validation: Path, out: Path, only: tuple[str, ...], model: str, cache: Path | None) -> None:
    """Run all variants that OUT does not hold yet."""
    base = resolve_model(model)
    tokenizer = load_tokenizer(base)
    training, held_out = (load_prompted_trees([folder], tokenizer) for folder in (data, validation))
    made_for = check_data(training, held_out, base)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "probes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    missing = [name for name in only or VARIANTS if name not in {line["variant"] for line in lines}]
    if missing:
        layers = sorted({*BASE.layers, *(layer for name in missing for layer in VARIANTS[name].layers)})
        caches = base_states(make_examples([*training, *held_out]), base, made_for, layers, cache)
        ids = {int(token) for one in (*training, *held_out) for token in np.unique(one.tree.nodes.token_id)}
        line_ends = {token for token in ids if "\n" in tokenizer.decode([token])}
        sides = [[places(trees, caches, line_ends, most) for most in (EARLY, None)] for trees in (training, held_out)]
    for name in (LOGPROB, CENTRALITY, *missing) if missing else ():
        if name in {line["variant"] for line in lines}:
            continue
        if name == LOGPROB:
            found = figures(sides[1], [at.mean_logprob for at in sides[1]])
        elif name == CENTRALITY:
            found = figures(sides[1], [centrality(at, BASE.layers[0]) for at in sides[1]])
        else:
            found = run_probe(VARIANTS[name], *sides)
        choices = asdict(VARIANTS[name]) if name in VARIANTS else {}
        line = {"variant": name, "choices": choices, "problems": len(training), "figures": found}
        lines.append(line)
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        click.echo(table([line]).splitlines()[-1])
    write_atomically(out / "probes.md", table(lines))


if __name__ == "__main__":
    main()
