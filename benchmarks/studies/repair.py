"""Does showing the model the example that its best program fails help more than drawing further answers for as many tokens?

    guided-gen build --problems apps --split validation --independent 16 --max-new-tokens 400 --precision int8 --out POOL
    python -m guided_gen.benchmarks.studies.repair POOL --out repair.jsonl

POOL holds independent rollouts, judged. Of each problem some, drawn by lot, are the search's candidates. Where the best of them
fails an example that the statement prints, the model, which is loaded for this alone, writes corrected answers as
`guided-gen solve --repair` has it write them; against these stand as many of the pool's other rollouts as take the same number of
tokens. Each arm's answers join the candidates, and the best is judged by the hidden tests. The same command goes on where it
stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...candidate_checks import ProgramChecks
from ...data_builder.dataset import PASSED, read_trees
from ...data_builder.judge.executions import Execution, table
from ...data_builder.judge.judge import Judge
from ...data_builder.judge.verdict import Verdict
from ...data_builder.problems.extraction import extract_program
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...data_builder.tree_folder import read_settings
from ...engine.models.known import DEFAULT_MODEL
from ...engine.sampling import Sampling
from ...engine.search import SearchSettings
from ...engine.tree import Ended, Tree
from ...generator import GuidedGenerator
from ...repair import joined, repairing
from ...solution import Candidate, Likelihood, Solution, Solved, is_python
from ...valuemodel.evidence import Finished, columns
from ...valuemodel.metrics import estimate, mean_of_defined, paired_difference, problem_weights
from ..judging import printed_examples
from ..readings import FULL
from ..results import LineFile, key_of, lines_of, problem_data

ARMS = ("first", "repair", "more")


@dataclass(frozen=True)
class Study:
    """What is measured: `first` candidates of a pool's rollouts, then `repairs`, `draws` times a problem."""

    generator: GuidedGenerator
    judge: Judge
    first: int
    repairs: int
    max_new_tokens: int
    sampling: Sampling

    def line(self, tree: Tree, problem: Problem, draw: int) -> dict[str, Any]:
        """One problem and draw: whether the best of each arm is correct, and what the arms cost."""
        shown = printed_examples(problem)
        rows = drawn_rows(tree, draw)
        with closing(ProgramChecks(shown)) as checks:
            first = self._solution(tree, shown, rows[: self.first], checks)
            told: dict[str, Any] = {"first": self._correct(first.best, tree), "failing": first.best.passes is False}
            found = self._repaired(shown, first, draw) if told["failing"] else None
            if found is None:
                return told | {"repair": told["first"], "more": told["first"]}
            after, tokens = len(paths(tree, rows[: self.first])), found.decoded_tokens
            costs = [len(paths(tree, rows[:end])) - after for end in range(self.first, len(rows) + 1)]
            end = self.first + int(np.abs(np.asarray(costs) - tokens).argmin())
            more = self._solution(tree, shown, rows[:end], checks)
        passed = {one.rollout: self.judge.judge(problem, one.program).passed for one in found.candidates if one.complete}
        best = joined(first, found).best
        told["repair"] = passed.get(best.rollout, False) if best.turn else self._correct(best, tree)
        repaired = sum(one.multiplicity for one in found.candidates if passed.get(one.rollout))
        further = rows[self.first : end]
        return told | {
            "more": self._correct(more.best, tree),
            "tokens": {"repair": tokens, "more": costs[end - self.first], "turn": found.prompt_tokens},
            "answers": {"repair": sum(one.multiplicity for one in found.candidates), "more": len(further)},
            "correct": {"repair": repaired, "more": sum(tree.verdicts[row] == PASSED for row in further)},
        }

    def _repaired(self, shown: Problem, first: Solution, draw: int) -> Solution | None:
        settings = SearchSettings(self.first, self.max_new_tokens, self.sampling, seed=draw)
        turn = repairing(self.generator.stream(shown, settings), first, self.repairs)
        return None if turn is None else next(event.solution for event in turn if isinstance(event, Solved))

    def _correct(self, best: Candidate, tree: Tree) -> bool:
        return tree.verdicts[best.rollout] == PASSED

    def _solution(self, tree: Tree, shown: Problem, rows: Sequence[int], checks: ProgramChecks) -> Solution:
        """What a search would have found that drew these rollouts."""
        counts = {row: list(rows).count(row) for row in rows}
        leaves = {row: int(tree.rollouts.leaf[row]) for row in counts}
        decode = self.generator.loaded.tokenizer.decode
        texts = {row: decode(tree.tokens(leaf), skip_special_tokens=True) for row, leaf in leaves.items()}
        complete = [row for row in counts if tree.rollouts.ended[row] == Ended.EOS]
        ran = {row: checks.check(extract_program(texts[row])) for row in complete}
        likely = self._likely(tree, counts, texts, ran) if ran else {}
        found = []
        for row, count in counts.items():
            verdict = ran[row][0] if row in ran else None
            shares = None if verdict is None or not shown.tests else (verdict.tests.count(PASSED), len(shown.tests))
            path = tree.path(leaves[row])
            numbers = tree.nodes.token_id[path], tree.nodes.logprob[path], tree.nodes.value[path]
            found.append(
                Candidate(
                    texts[row],
                    *numbers,
                    score=float(numbers[1].mean()),
                    ended=Ended(int(tree.rollouts.ended[row])),
                    multiplicity=count,
                    examples=shares,
                    rollout=row,
                    failure=None if verdict is None else verdict.failure,
                    parses=is_python(extract_program(texts[row])),
                    likelihood=likely.get(row),
                )
            )
        found.sort(key=lambda candidate: candidate.rank, reverse=True)
        tokens = len(paths(tree, rows))
        return Solution(found, tree, tree.prompt_length, tokens, 0.0, checks.isolation, shown)

    def _likely(
        self, tree: Tree, counts: dict[int, int], texts: dict[int, str], ran: dict[int, tuple[Verdict | None, Execution]]
    ) -> dict[int, Likelihood]:
        rows = list(ran)
        leaves = tree.rollouts.leaf[rows]
        classes, results = table([ran[row][1] for row in rows])
        verdicts = [ran[row][0] for row in rows]
        told = columns(
            Finished(
                counts=np.asarray([counts[row] for row in rows]),
                lengths=tree.depth[leaves],
                logprobs=tree.logprob_sum[leaves] / tree.depth[leaves],
                ended=np.ones(len(rows), bool),
                parses=np.asarray([is_python(extract_program(texts[row])) for row in rows]),
                passed=np.asarray([0 if one is None else one.tests.count(PASSED) for one in verdicts]),
                shown=0 if verdicts[0] is None else len(ran[rows[0]][1].examples),
                classes=classes,
                results=results,
                values=np.full(len(rows), np.nan),
                readings=np.full(len(rows), np.nan),
            )
        )
        probabilities = self.generator.evidence.probabilities(told).tolist()
        return {row: Likelihood(likely, None) for row, likely in zip(rows, probabilities, strict=True)}


def drawn_rows(tree: Tree, draw: int) -> list[int]:
    """The rollouts of a tree, one a sample, in an order of their own for each draw."""
    rows = np.repeat(np.arange(len(tree.rollouts)), tree.rollouts.multiplicity)
    return np.random.default_rng([draw, tree.prompt_length, len(tree)]).permutation(rows).tolist()


def paths(tree: Tree, rows: Sequence[int]) -> set[int]:
    """The tokens of these rollouts; shared ones once."""
    return {node for row in set(rows) for node in tree.path(int(tree.rollouts.leaf[row])).tolist()}


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The arms' pass@1, all draws of a problem together, with 95% intervals over problems."""
    names = sorted({line["problem"] for line in lines})
    weights = problem_weights(len(names))
    shares = {
        arm: np.asarray([np.mean([line[arm] for line in lines if line["problem"] == name]) for name in names]) for arm in ARMS
    }
    failing = [line for line in lines if "tokens" in line]
    yield f"{len(names)} problems, {len(lines)} searches; in {len(failing)} of them the best program fails an example"
    yield "| answers | pass@1 | further answers | of them correct | their tokens |"
    yield "|-|-|-|-|-|"
    for arm in ARMS:
        cells = ["", "", ""]
        if arm != "first" and failing:
            answers, correct, tokens = (sum(line[key][arm] for line in failing) for key in ("answers", "correct", "tokens"))
            cells = [str(answers), f"{correct / max(answers, 1):.1%}", str(tokens)]
        yield f"| {arm} | {estimate(mean_of_defined(shares[arm], weights))} | {' | '.join(cells)} |"
    yield f"repair less more: {paired_difference(shares['repair'], shares['more'], weights)[0]}"


@click.command()
@click.argument("pool", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--model", default=DEFAULT_MODEL, help="The generator that wrote POOL.")
@click.option("--precision", default="auto")
@click.option("--first", default=8, help="Candidates before the repair.")
@click.option("--repairs", default=6, help="Corrected answers.")
@click.option("--draws", default=2, help="Choices of the first candidates a problem.")
@click.option("--problems", default=None, help="Where the problems are, if not where POOL found them.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A line a problem and draw.")
@click.option("--report-only", is_flag=True, help="Decode nothing; report what OUT holds.")
def main(pool: Path, out: Path, first: int, repairs: int, draws: int, **options: Any) -> None:
    """Print pass@1 of the candidates, with repairs, and with further answers for as many tokens."""
    if not options["report_only"]:
        settings = read_settings(pool)
        sampling, source = Sampling(**settings["sampling"]), options["problems"] or settings["problems"]
        known = {one.id: one for one in load_problems(source, settings["split"])}
        run = {"kind": "repair", "first": first, "repairs": repairs, "model_sha256": settings["model_sha256"]}
        with ExitStack() as stack:
            generator = stack.enter_context(
                GuidedGenerator.from_pretrained(options["model"], precision=options["precision"], value=None)
            )
            judge = stack.enter_context(Judge("auto", workers=1, stop_at_first_failure=True))
            written = stack.enter_context(LineFile(out, run))
            study = Study(generator, judge, first, repairs, settings["max_new_tokens"], sampling)
            trees = [tree for tree in read_trees([pool]) if known[tree.metadata["problem"]].tests_kind == FULL]
            for draw in range(draws):
                for tree in trees:
                    problem = known[tree.metadata["problem"]]
                    key = {"problem": problem.id, "policy": f"draw {draw}", "n": first, "scorer": "evidence"}
                    if key_of(key) not in written.done:
                        written.add(key | {"data": problem_data(problem)} | study.line(tree, problem, draw))
    for text in report(lines_of(out)):
        click.echo(text)


if __name__ == "__main__":
    main()
