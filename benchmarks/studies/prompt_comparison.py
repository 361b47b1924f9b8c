"""Which prompt is better? pass@1 and tokens an answer of each template on the same problems.

    python -m guided_gen.benchmarks.studies.prompt_comparison sample --answers answers.jsonl
    python -m guided_gen.benchmarks.studies.prompt_comparison report --answers answers.jsonl

Sampling and judging are apart, so that stored answers can be judged again. pass@1 is the mean over problems of the share of
correct samples; the intervals are bootstrapped over problems, that of the difference paired. Exact matching marks some correct
answers of "any valid answer" problems wrong (a limit of APPS).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ...data_builder.judge.judge import Judge
from ...data_builder.problems.extraction import extract_program
from ...data_builder.problems.loaders import load_problems
from ...data_builder.problems.problem import Problem
from ...data_builder.problems.prompts import TEMPLATES, PromptTemplate, prompt_ids
from ...data_builder.problems.quality import skip_reason
from ...engine.errors import GuidedGenError
from ...engine.models.known import DEFAULT_MODEL
from ...engine.sampling import Sampling
from ...engine.search import Search, SearchSettings, advance_round
from ...engine.tree import Ended

BOOTSTRAP_RESAMPLES = 10_000
QUESTIONS_AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """One sampled answer. `tokens` are the generated ones; `ended` is false if the limit cut it off."""

    problem_id: str
    template: str
    template_hash: str
    completion: str
    tokens: int
    ended: bool


Question = tuple[Problem, PromptTemplate]
# Yields the answers to each question, in any order of questions.
Complete = Callable[[Sequence[Question]], Iterable[list[Answer]]]


@dataclass(frozen=True)
class TemplateResult:
    """`shares[i]`: share of correct samples of problem i. `interval`: 95%, bootstrapped over problems."""

    template: str
    shares: NDArray[np.float64]
    pass_at_1: float
    interval: tuple[float, float]
    tokens_per_answer: float
    cut_off: float


def choose_problems(problems: Iterable[Problem], count: int, seed: int) -> list[Problem]:
    """`count` introductory problems whose tests are fit for labels, the same for one seed whatever the order of `problems`."""
    fit = [problem for problem in problems if problem.difficulty == "introductory" and skip_reason(problem) is None]
    if len(fit) < count:
        raise GuidedGenError(f"Only {len(fit)} problems are introductory with sufficient tests, {count} were asked for.")
    return random.Random(seed).sample(sorted(fit, key=lambda problem: problem.id), count)


@dataclass(frozen=True)
class Difference:
    """pass@1 of one template less that of another, paired by problem; `of` says which."""

    of: str
    pass_at_1: float
    interval: tuple[float, float]


def compare(answers: Sequence[Answer], passed: Sequence[bool], seed: int = 0) -> tuple[list[TemplateResult], Difference | None]:
    """Results of each template over the problems that all have been asked, and of two templates the difference.

    passed[i]: whether answers[i] is correct. Raises `GuidedGenError` if no problem has answers of every template.
    """
    templates = sorted({answer.template for answer in answers})
    asked = [{answer.problem_id for answer in answers if answer.template == template} for template in templates]
    problems = sorted(set.intersection(*asked)) if asked else []
    if not problems:
        raise GuidedGenError("No problem has answers to every template.")
    picks = np.random.default_rng(seed).integers(len(problems), size=(BOOTSTRAP_RESAMPLES, len(problems)))
    results = [_template_result(name, problems, answers, passed, picks) for name in templates]
    if len(results) != 2:
        return results, None
    gap = results[0].shares - results[1].shares
    return results, Difference(" - ".join(templates), float(gap.mean()), _interval(gap, picks))


def _template_result(
    template: str, problems: list[str], answers: Sequence[Answer], passed: Sequence[bool], picks: NDArray[np.int64]
) -> TemplateResult:
    own = [(a, ok) for a, ok in zip(answers, passed, strict=True) if a.template == template and a.problem_id in problems]
    shares = np.array([np.mean([ok for answer, ok in own if answer.problem_id == problem]) for problem in problems])
    return TemplateResult(
        template=template,
        shares=shares,
        pass_at_1=float(shares.mean()),
        interval=_interval(shares, picks),
        tokens_per_answer=float(np.mean([answer.tokens for answer, _ in own])),
        cut_off=float(np.mean([not answer.ended for answer, _ in own])),
    )


def _interval(per_problem: NDArray[np.float64], picks: NDArray[np.int64]) -> tuple[float, float]:
    low, high = np.quantile(per_problem[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def engine_sampler(model: str, settings: SearchSettings, precision: str) -> Complete:
    """Independent samples (best-of-n without a choice) from the engine, `QUESTIONS_AT_ONCE` questions in one batch."""
    from ...engine.language_model import Prompt
    from ...engine.models.loading import load_model

    loaded = load_model(model, precision)
    language_model, tokenizer = loaded.language_model, loaded.tokenizer
    settings = replace(settings, stop_ids=loaded.stop_ids)
    room = language_model.max_length - settings.max_new_tokens

    def complete(questions: Sequence[Question]) -> Iterator[list[Answer]]:
        waiting = list(reversed(questions))
        active: list[tuple[Question, Search]] = []
        while waiting or active:
            while waiting and len(active) < QUESTIONS_AT_ONCE:
                problem, template = waiting.pop()
                ids = prompt_ids(tokenizer, problem, template, max_tokens=room)
                active.append(((problem, template), Search(language_model, Prompt(ids), settings)))
            advance_round(language_model, [search for _, search in active])
            for question, search in active:
                if search.done:
                    yield answers_of(question, search)
            active = [(question, search) for question, search in active if not search.done]

    def answers_of(question: Question, search: Search) -> list[Answer]:
        problem, template = question
        language_model.close(search.session)
        rollouts = search.tree.rollouts
        answers = []
        for row in search.rollouts:
            tokens = search.tree.tokens(int(rollouts.leaf[row]))
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            ended = int(rollouts.ended[row]) == Ended.EOS
            answer = Answer(problem.id, template.name, template.hash, text, len(tokens), ended)
            answers += [answer] * int(rollouts.multiplicity[row])
        return answers

    return complete


def sample_answers(problems: Sequence[Problem], complete: Complete, path: Path) -> None:
    """Append the answers to every problem with every template to `path`, leaving out what it already holds."""
    done = {(answer.problem_id, answer.template_hash) for answer in read_answers(path)} if path.exists() else set()
    questions = [(problem, template) for problem in problems for template in TEMPLATES.values()]
    questions = [(problem, template) for problem, template in questions if (problem.id, template.hash) not in done]
    with path.open("a", encoding="utf-8") as lines:
        for number, answers in enumerate(complete(questions), start=1):
            lines.writelines(json.dumps(asdict(answer)) + "\n" for answer in answers)
            lines.flush()
            click.echo(f"{number} of {len(questions)}: {answers[0].problem_id} {answers[0].template}", err=True)


def judge_answers(problems: Sequence[Problem], answers: Sequence[Answer]) -> list[bool]:
    """Whether each answer's program passes all tests of its problem."""
    by_id = {problem.id: problem for problem in problems}
    passed = [False] * len(answers)
    items = [(number, by_id[answer.problem_id], extract_program(answer.completion)) for number, answer in enumerate(answers)]
    with Judge(stop_at_first_failure=True) as judge:
        for number, verdict in judge.judge_many(items):
            passed[number] = verdict.passed
    return passed


def read_answers(path: Path) -> list[Answer]:
    """The answers stored in `path`."""
    return [Answer(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


@click.group()
def main() -> None:
    """Compare the prompt templates on validation problems."""


@main.command()
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--answers", type=click.Path(path_type=Path), required=True, help="JSON lines; answers already there are kept.")
@click.option("--problems", "count", default=24, show_default=True)
@click.option("--samples", default=8, show_default=True, help="Answers a problem and template.")
@click.option("--temperature", default=0.8, show_default=True)
@click.option("--top-p", default=0.95, show_default=True)
@click.option("--max-new-tokens", default=400, show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--seed", default=0, show_default=True)
def sample(
    model: str,
    answers: Path,
    count: int,
    samples: int,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    precision: str,
    seed: int,
) -> None:
    """Sample answers to introductory validation problems with every template."""
    chosen = choose_problems(load_problems("apps", split="validation"), count, seed)
    settings = SearchSettings(n=samples, max_new_tokens=max_new_tokens, sampling=Sampling(temperature, top_p), seed=seed)
    sample_answers(chosen, engine_sampler(model, settings, precision), answers)


@main.command()
@click.option("--answers", "path", type=click.Path(path_type=Path, exists=True), required=True)
def report(path: Path) -> None:
    """Judge stored answers and print pass@1 and the tokens an answer of each template."""
    answers = read_answers(path)
    results, difference = compare(answers, judge_answers(load_problems("apps", split="validation"), answers))
    for result in results:
        low, high = result.interval
        click.echo(
            f"{result.template:6} pass@1 {result.pass_at_1:.1%} [{low:.1%}, {high:.1%}] on {len(result.shares)} problems, "
            f"{result.tokens_per_answer:.0f} tokens an answer, {result.cut_off:.1%} cut off"
        )
    if difference:
        low, high = difference.interval
        click.echo(f"{difference.of}: {difference.pass_at_1:+.1%} [{low:+.1%}, {high:+.1%}]")


if __name__ == "__main__":
    main()
