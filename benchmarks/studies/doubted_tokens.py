"""Reading is verifying: does it pay to fork an answer at the token that a larger reader doubts most, with the reader's own token?

    python -m guided_gen.benchmarks.studies.doubted_tokens --limit 30 --out benchmarks/results/doubted-tokens/answers.jsonl

The generator writes n answers, the reader reads them. In each, the doubted token is the one with the lowest log-ratio, the
reader's log-probability less the generator's. From there n more answers grow in three ways: with the reader's likeliest token in
its place (reward-guided speculative decoding, at one token), with whatever the generator draws there again, and from the prompt.
All are read and judged by the hidden tests. The same command goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from ...data_builder.judge.judge import Judge
from ...data_builder.problems.extraction import extract_program
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...data_builder.problems.prompts import prompt_ids
from ...engine.language_model import Prompt
from ...engine.models.files import model_identity, resolve_model
from ...engine.models.loaded_model import LoadedModel
from ...engine.models.loading import load_model, load_weights
from ...engine.models.tokenizer_loading import load_tokenizer
from ...engine.sampling import Sampling
from ...engine.search import Search, SearchSettings, run
from ...engine.torch_backend.model import TorchSession
from ...engine.torch_backend.reader import ReadingSession, TorchReader, check_same_tokens
from ...engine.tree import ROOT
from ...valuemodel.metrics import estimate, mean_of_defined, paired_difference, problem_weights
from ..results import LineFile, key_of, lines_of, problem_data
from .adaptive_online import searched_problems

FIRST, READERS, AGAIN, AFRESH = "first answers", "the reader's token", "drawn again there", "from the prompt"
WAYS = (READERS, AGAIN, AFRESH)
COSTS = (("tokens", 0), ("seconds", 1))


class NamingReader(TorchReader):
    """A reader that also says which token it finds likeliest."""

    _named: dict[int, int] | None = None

    @torch.inference_mode()
    def likeliest_below(self, session: ReadingSession, nodes: Sequence[int]) -> dict[int, int]:
        """The likeliest token below each of `nodes`, all of which were read or are the root."""
        self._named = {}
        try:
            if ROOT in nodes:
                self._remember([(session, ROOT)], session.first)
            self._look_ahead([(session, np.asarray(sorted({node for node in nodes if node != ROOT}), np.int64))])
            return self._named
        finally:
            self._named = None

    def _remember(self, rows: list[tuple[TorchSession, int]], hidden: torch.Tensor) -> None:
        if self._named is None:
            super()._remember(rows, hidden)
        else:
            likeliest = self._logits(hidden).argmax(dim=-1).tolist()
            self._named |= {node: token for (_, node), token in zip(rows, likeliest, strict=True)}


@dataclass
class Reading:
    """A problem's answers in one tree, written by `loaded` and read by `reader`."""

    loaded: LoadedModel
    reader: NamingReader
    judge: Judge
    problem: Problem
    settings: SearchSettings
    streams: int = 0
    _verdicts: dict[int, bool] = field(default_factory=dict)

    def __enter__(self) -> Reading:
        self.prompt = Prompt(prompt_ids(self.loaded.tokenizer, self.problem), room=self.settings.max_new_tokens)
        self.session = self.loaded.language_model.open(self.prompt, self.settings.sampling, 0, self.loaded.stop_ids)
        self.reading = self.reader.begin(self.session.tree, self.prompt)
        return self

    def __exit__(self, *_: object) -> None:
        self.loaded.language_model.close(self.session)
        self.reader.close(self.reading)

    def grow(self, starts: Sequence[int]) -> tuple[list[int], dict[str, float]]:
        """An answer from each of `starts`, read: where they end, and what that took."""
        tree, began, before = self.session.tree, time.perf_counter(), len(self.session.tree)
        growing = [node for node in starts if node == ROOT or int(tree.nodes.token_id[node]) not in self.settings.stop_ids]
        grown: Iterator[int] = iter(())
        if growing:
            model = self.loaded.language_model
            search = Search(model, self.session, self.settings, starts=growing, first_stream=self.streams)
            run(model, [search])
            grown = iter([sample.leaf for sample in search.samples_begun])
        ended = [next(grown) if node in growing else node for node in starts]
        self.streams += len(starts)
        self.reader.read([(self.reading, np.unique(ended))])
        return ended, {"tokens": len(tree) - before, "seconds": round(time.perf_counter() - began, 3)}

    def log_ratios(self) -> np.ndarray:
        """Of each token, [nodes]."""
        nodes = self.session.tree.nodes
        ratios: np.ndarray = nodes.reader_logprob - nodes.logprob
        return ratios

    def doubted(self, leaf: int) -> int:
        """The node on the path to `leaf` that the reader doubts most."""
        path = self.session.tree.path(leaf)
        return int(path[np.argmin(self.log_ratios()[path])])

    def replaced(self, nodes: Sequence[int]) -> list[int]:
        """Beside each of `nodes` that with the reader's likeliest token."""
        tree, model = self.session.tree, self.loaded.language_model
        parents = [int(tree.nodes.parent[node]) for node in nodes]
        named = self.reader.likeliest_below(self.reading, parents)
        found = []
        for parent in parents:
            node = tree.child(parent, named[parent])
            if node is None:
                tokens = [*tree.tokens(parent).tolist(), named[parent]]
                node = tree.add_node(parent, named[parent], logprob=model.logprobs(self.prompt.token_ids, tokens)[-1])
            found.append(node)
        return found

    def told(self, leaves: Sequence[int]) -> dict[str, Any]:
        """Of each answer: whether it is correct, and its mean log-ratio."""
        ratios = self.session.tree.path_means(self.log_ratios())
        correct = [self._correct(leaf) for leaf in leaves]
        return {"correct": correct, "log_ratio": [round(float(ratios[leaf]), 5) for leaf in leaves]}

    def _correct(self, leaf: int) -> bool:
        if leaf not in self._verdicts:
            text = self.loaded.tokenizer.decode(self.session.tree.tokens(leaf), skip_special_tokens=True)
            self._verdicts[leaf] = self.judge.judge(self.problem, extract_program(text)).passed
        return self._verdicts[leaf]


def answers(reading: Reading, n: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The first n answers to a problem and, in each way, n more."""
    with reading:
        tree = reading.session.tree
        first, cost = reading.grow([ROOT] * n)
        yield FIRST, reading.told(first) | cost
        doubted = [reading.doubted(leaf) for leaf in first]
        began = time.perf_counter()
        replaced = reading.replaced(doubted)
        naming = time.perf_counter() - began
        for way, starts in (
            (AFRESH, [ROOT] * n),
            (AGAIN, [int(tree.nodes.parent[node]) for node in doubted]),
            (READERS, replaced),
        ):
            found, cost = reading.grow(starts)
            cost["seconds"] += round(naming, 3) if way == READERS else 0
            yield way, reading.told(found) | {"from_token": [tree.depth_of(node) for node in starts]} | cost


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """How often further answers are correct in each way, and the best by log-ratio of them and the first ones."""
    by_way: dict[str, dict[str, dict[str, Any]]] = {}
    for one in lines:
        by_way.setdefault(one["policy"], {})[one["problem"]] = one
    names = sorted(name for name in by_way[FIRST] if all(name in by_way.get(way, {}) for way in WAYS))
    weights = problem_weights(len(names))
    first, afresh = ([by_way[way][name] for name in names] for way in (FIRST, AFRESH))
    base = np.asarray([np.mean(one["correct"]) for one in afresh])
    yield f"{len(names)} problems; the first answers pass in {np.mean([np.mean(one['correct']) for one in first]):.1%}"
    yield "| further answers | correct | less those from the prompt | best of all by log-ratio | any of all | tokens | s |"
    yield "|-|-|-|-|-|-|-|"
    for way in (FIRST, *WAYS):
        own = [by_way[way][name] for name in names]
        correct = np.asarray([np.mean(one["correct"]) for one in own])
        both = [(one,) if way == FIRST else (one, more) for one, more in zip(first, own, strict=True)]
        best = np.asarray([_best(pair) for pair in both])
        best_passes, any_passes = (str(estimate(mean_of_defined(found, weights))) for found in best.T)
        cells = [str(estimate(mean_of_defined(correct, weights))), str(paired_difference(correct, base, weights)[0])]
        cells += [best_passes, any_passes]
        cells += [f"{np.mean([sum(one[key] for one in pair) for pair in both]):.{digits}f}" for key, digits in COSTS]
        yield f"| {way} | {' | '.join(cells)} |"


def _best(lines: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Whether the answer with the highest log-ratio in `lines` is correct, and whether any is."""
    correct = [found for one in lines for found in one["correct"]]
    ratios = [found for one in lines for found in one["log_ratio"]]
    return float(correct[int(np.argmax(ratios))]), float(any(correct))


@click.command()
@click.option("--model", default="qwen2.5-coder-0.5b", show_default=True)
@click.option("--reader", default="qwen2.5-coder-1.5b", show_default=True)
@click.option("--problems", default="apps", show_default=True)
@click.option("--split", default="validation", show_default=True)
@click.option("--limit", default=30, show_default=True, help="Problems, a random part.")
@click.option("--n", default=8, show_default=True, help="First answers, and further ones in each way.")
@click.option("--max-new-tokens", default=400, show_default=True)
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A line a problem and way.")
@click.option("--report-only", is_flag=True, help="Decode nothing; report what OUT holds.")
def main(out: Path, model: str, reader: str, n: int, max_new_tokens: int, report_only: bool, **options: Any) -> None:
    """Print how often answers that grow from doubted tokens are correct."""
    if not report_only:
        known = load_problems(options["problems"], options["split"] or None)
        paths = {"model": resolve_model(model), "reader": resolve_model(reader)}
        check_same_tokens(load_tokenizer(paths["model"]), load_tokenizer(paths["reader"]), reader)
        about = {"kind": "doubted tokens", "max_new_tokens": max_new_tokens}
        about |= {f"{name}_sha256": model_identity(path).sha256 for name, path in paths.items()}
        loaded = load_model(model)
        naming = NamingReader(load_weights(paths["reader"], loaded.precision, packed=True))
        settings = SearchSettings(
            max_new_tokens=max_new_tokens, sampling=Sampling(), stop_ids=loaded.stop_ids, check_every=max_new_tokens + 1
        )
        with ExitStack() as stack:
            judge = stack.enter_context(Judge("auto", workers=1, stop_at_first_failure=True))
            written = stack.enter_context(LineFile(out, about))
            for problem in searched_problems(known, options["limit"]):
                keys = {way: {"problem": problem.id, "policy": way, "n": n, "scorer": "log-ratio"} for way in (FIRST, *WAYS)}
                if all(key_of(key) in written.done for key in keys.values()):
                    continue
                for way, line in answers(Reading(loaded, naming, judge, problem, settings), n):
                    if key_of(keys[way]) not in written.done:
                        written.add(keys[way] | {"data": problem_data(problem)} | line)
    for text in report(lines_of(out)):
        click.echo(text)


if __name__ == "__main__":
    main()
