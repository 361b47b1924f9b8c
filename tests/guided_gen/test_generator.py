"""The library's front door, on a tiny random model: its answers are noise, its bookkeeping must be right."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from guided_gen.data_builder.judge.executions import PublicRuns
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.engine.errors import ContextError
from guided_gen.engine.policies import Beam
from guided_gen.engine.tree import Ended, Tree
from guided_gen.generator import GuidedGenerator
from guided_gen.solution import Candidate, Finished, Progress, Solved

STATEMENT = "Double a number.\n\ndef double(x):\n\ndouble(2) == 4\ndouble(0) == 0\n"


def freed(generator: GuidedGenerator) -> bool:
    """Whether no cache is held once the decoding thread has done what it was told."""
    generator.scheduler.between_steps(lambda: None).result()
    return generator.loaded.language_model.statistics.cached_tokens == 0 and not generator.scheduler.live


@pytest.fixture(scope="module")
def generator(tiny_folder: Path) -> GuidedGenerator:
    return GuidedGenerator.from_pretrained(str(tiny_folder), precision="float32")


def test_a_solution_holds_every_candidate(generator: GuidedGenerator, tmp_path: Path) -> None:
    solution = generator.solve(STATEMENT, n=6, max_new_tokens=40, seed=1)
    assert sum(candidate.multiplicity for candidate in solution.candidates) == 6
    for candidate in solution.candidates:
        assert len(candidate.token_ids) == len(candidate.logprobs) == len(candidate.values) <= 40
        assert candidate.text == generator.loaded.tokenizer.decode(candidate.token_ids, skip_special_tokens=True)
        assert candidate.score == pytest.approx(candidate.logprobs.mean(), abs=1e-5)
    assert solution.decoded_tokens == len(solution.tree)
    assert solution.candidates == sorted(solution.candidates, key=lambda candidate: candidate.rank, reverse=True)
    solution.tree.save(tmp_path / "tree.parquet")
    assert Tree.load(tmp_path / "tree.parquet") == solution.tree


def test_the_same_seed_gives_the_same_answers(generator: GuidedGenerator) -> None:
    texts = [[c.text for c in generator.solve(STATEMENT, n=4, max_new_tokens=20, seed=seed).candidates] for seed in (3, 3, 4)]
    assert texts[0] == texts[1] != texts[2]


def test_a_stream_shows_progress_and_finished_candidates_and_ends_solved(generator: GuidedGenerator) -> None:
    events = list(generator.stream(STATEMENT, n=8, max_new_tokens=120, seed=0))
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.decoded_tokens for event in progress] == sorted(event.decoded_tokens for event in progress)
    assert isinstance(events[-1], Solved) and sum(isinstance(event, Solved) for event in events) == 1
    complete = {c.text for c in events[-1].solution.candidates if c.ended == Ended.EOS}
    assert {event.text for event in events if isinstance(event, Finished)} == complete


def test_cancelling_ends_a_search_with_what_there_is(generator: GuidedGenerator) -> None:
    solving = generator.stream(STATEMENT, n=3, max_new_tokens=2000, seed=0)
    last = None
    for event in solving:
        last = event
        if isinstance(event, Progress) and event.decoded_tokens > 20:
            solving.cancel()
    assert isinstance(last, Solved) and 20 < last.solution.decoded_tokens < 100
    assert freed(generator)


def test_a_stream_left_early_frees_its_cache(generator: GuidedGenerator) -> None:
    for _ in generator.stream(STATEMENT, n=3, max_new_tokens=50):
        break
    assert freed(generator)


def test_threads_share_one_generator(generator: GuidedGenerator) -> None:
    alone = [generator.solve(STATEMENT, n=2, max_new_tokens=30, seed=seed).program for seed in range(4)]
    together: dict[int, str] = {}

    def solve(seed: int) -> None:
        together[seed] = generator.solve(STATEMENT, n=2, max_new_tokens=30, seed=seed).program

    threads = [threading.Thread(target=solve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[seed] for seed in range(4)] == alone


def test_policies_and_lines_are_settings_like_any_other(generator: GuidedGenerator) -> None:
    solution = generator.solve(STATEMENT, n=6, max_new_tokens=60, policy=Beam(2), line_ends=generator.line_ends(), seed=2)
    assert sum(c.ended == Ended.PRUNED for c in solution.candidates) > 0


def candidate(passed: int | None, ended: Ended, score: float) -> Candidate:
    nothing = np.empty(0)
    return Candidate("", nothing, nothing, nothing, score, ended, 1, None if passed is None else (passed, 2), 0)


def test_candidates_that_pass_the_examples_come_first_then_complete_ones_then_by_score() -> None:
    ranked = [
        candidate(2, Ended.EOS, -5.0),
        candidate(1, Ended.EOS, -0.1),
        candidate(0, Ended.EOS, -0.2),
        candidate(None, Ended.LENGTH, -0.01),
        candidate(None, Ended.PRUNED, float("nan")),
    ]
    assert sorted(ranked, key=lambda c: c.rank, reverse=True) == ranked


def test_a_sandbox_that_does_not_start_costs_its_candidates_and_not_the_search(
    generator: GuidedGenerator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise JudgeError("A sandbox did not start.")

    monkeypatch.setattr(PublicRuns, "run", fail)
    solution = generator.solve(STATEMENT, n=8, max_new_tokens=120, seed=0)
    complete = [candidate for candidate in solution.candidates if candidate.complete]
    assert complete and {candidate.examples for candidate in complete} == {(0, 2)} and solution.passing == 0
    for candidate in complete:
        assert solution.tree.verdicts[candidate.rollout] == "no_result"
        assert solution.tree.metadata["failures"][str(candidate.rollout)]["error"] == "A sandbox did not start."
    assert "counts as failing them: A sandbox did not start." in caplog.text


def test_a_statement_longer_than_the_context_is_refused(generator: GuidedGenerator) -> None:
    with pytest.raises(ContextError, match=r"\d+ tokens"):
        generator.solve("many words " * 2000, n=1)


def test_line_ends_are_the_tokens_with_a_line_break(generator: GuidedGenerator) -> None:
    texts = [generator.loaded.tokenizer.decode([i]) for i in generator.line_ends()]
    assert texts and all("\n" in text for text in texts)


def test_the_readme_example_runs(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    example = next(block for block in blocks if "from guided_gen import GuidedGenerator" in block)
    assert len(example.strip().splitlines()) <= 10
    real = GuidedGenerator.from_pretrained
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda **_: real(str(tiny_folder), precision="float32"))
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out  # a random model's program may be a blank line
