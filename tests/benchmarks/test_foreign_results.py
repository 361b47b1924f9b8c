"""Files of results that a run did not write, or not as they are now: read, or refused in one sentence, in linear time."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_gen.benchmarks.readings import independent_samples, readings_of
from guided_gen.benchmarks.results import read_results
from guided_gen.engine.errors import DataError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
ABOUT = {"tests_kind": "full", "difficulty": "easy", "format": "calls", "blind": True, "scorers": ["logprob"]}
CANDIDATE = {"ended": "eos", "verdict": "passed", "multiplicity": 1, "examples": None, "scores": {"logprob": -1.0}}
COST = {"tokens": 5, "passes": 5, "seconds": 0.1, "scoring_seconds": 0.0, "peak_memory_mb": 1}
LINE = ABOUT | {
    **{"problem": "made/1", "policy": "best-of-n", "n": 1, "scorer": "", "data": "d", "settings": ""},
    **{"candidates": [CANDIDATE], "cost": COST, "ranking_costs": {}, "examples_seconds": None},
}


def read(path: Path, *lines: Any) -> int:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    results = read_results([path])
    return len(readings_of(results)) + len(independent_samples(results))


def test_a_line_that_a_run_writes_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "lines", {"run": {"kind": "judged"}}, LINE) == 3


@given(
    changes=st.dictionaries(st.sampled_from(sorted(LINE)), JSON, max_size=2),
    lost=st.sets(st.sampled_from(sorted(LINE)), max_size=1),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_line_holds_it_is_read_or_refused(changes: dict[str, Any], lost: set[str], tmp_path: Path) -> None:
    line = {name: part for name, part in (LINE | changes).items() if name not in lost}
    with suppress(DataError):
        read(tmp_path / "lines", {"run": {"kind": "judged"}}, line)


@pytest.mark.parametrize("first", [[], {"run": []}, {"run": "judged"}, {}, 7])
def test_a_file_that_does_not_say_what_it_is_of_is_refused(first: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(tmp_path / "lines", first, LINE)


@pytest.mark.parametrize("piece", ["[", '{"run": {}}\n', '{"a":', "9", "\n", '"'])
def test_a_megabyte_takes_linear_time(piece: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_text(piece * (1_000_000 // len(piece)) + "\n")
    with pytest.raises(DataError):
        read_results([tmp_path / "lines"])
