import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from guided_gen.data_builder.judge import isolation, launch, program, seccomp
from guided_gen.data_builder.judge.isolation import IsolationError, available_levels, choose_isolation
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.judge.program import JudgeError
from guided_gen.data_builder.judge.sandbox import Sandbox, SandboxDied, _remove_tree
from guided_gen.data_builder.judge.verdict import ProgramLimits
from guided_gen.data_builder.problems.problem import CallTest, Problem

PROBLEM = Problem("p/1", "", "p", entry_point="f", tests=(CallTest((1,), "x"),))


def answer(level, program):
    """What the program returns, wrong as it is."""
    with Judge(level, workers=1) as judge:
        verdict = judge.judge(PROBLEM, program)
    assert verdict.isolation == level
    return verdict.failure.got or verdict.failure.error


def test_the_strongest_level_is_chosen():
    assert choose_isolation("auto") == available_levels()[0]


def test_without_bubblewrap_the_next_level_is_chosen_and_said(hidden_bubblewrap):
    assert "full" not in available_levels()
    with Judge(workers=1) as judge:
        assert judge.isolation == choose_isolation("auto") != "full"
        verdict = judge.judge(PROBLEM, "def f(x): return 'x'")
    assert verdict.passed
    assert verdict.isolation == judge.isolation


def test_a_level_that_is_not_there_is_an_error_never_a_lower_level(hidden_bubblewrap):
    with pytest.raises(IsolationError, match="'full' is not available here: bubblewrap"):
        Judge("full")
    with pytest.raises(IsolationError, match="no isolation level 'strong'"):
        Judge(cast(Any, "strong"))


def test_a_level_whose_trial_program_does_not_run_is_not_available(monkeypatch):
    def broken(*_):
        raise SandboxDied("no namespaces here")

    monkeypatch.setattr(isolation, "Sandbox", broken)
    isolation.why_unavailable.cache_clear()
    try:
        with pytest.raises(IsolationError, match="no namespaces here"):
            choose_isolation("namespaces")
        with pytest.raises(IsolationError, match="No isolation level works"):
            choose_isolation("auto")
    finally:
        monkeypatch.undo()
        isolation.why_unavailable.cache_clear()


def test_a_machine_whose_system_calls_are_not_known_has_no_levels(monkeypatch):
    monkeypatch.setattr(seccomp, "MACHINES", {})
    isolation.why_unavailable.cache_clear()
    try:
        with pytest.raises(IsolationError, match=f"the filter of system calls knows no {os.uname().machine}"):
            choose_isolation("auto")
    finally:
        isolation.why_unavailable.cache_clear()


def test_the_environment_is_scrubbed_and_the_folder_empty(level, monkeypatch):
    monkeypatch.setenv("JUDGE_TEST_SECRET", "secret")
    seen = answer(level, "import os\ndef f(x): return [sorted(os.environ), os.listdir('.'), os.getuid() == 0]")
    assert "JUDGE_TEST_SECRET" not in seen
    assert seen.endswith("[], False]")


def test_the_folder_can_be_written_and_is_removed(level):
    before = set(Path("/tmp").glob(f"guided-gen-judge-{os.getpid()}-*"))
    program = (
        "import os\ndef f(x):\n    os.makedirs('a/b')\n    open('a/b/c', 'w').write('x' * 10)\n    return open('a/b/c').read()"
    )
    assert answer(level, program) == "xxxxxxxxxx"
    assert set(Path("/tmp").glob(f"guided-gen-judge-{os.getpid()}-*")) - before == set()


@pytest.fixture
def not_root():
    """Nothing is closed to root."""
    os.seteuid(launch.unprivileged_uid() or os.getuid())
    yield
    os.seteuid(os.getuid())


@pytest.mark.parametrize("left", [(), ("file",)])
def test_a_folder_that_its_program_closed_is_removed(not_root, left):
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    for name in left:
        (folder / name).touch()
    folder.chmod(0)
    _remove_tree(str(folder))
    assert not folder.exists()


@pytest.mark.parametrize("broken", ["os.chown", "subprocess.Popen", "guided_gen.data_builder.judge.launch.confinement"])
def test_a_sandbox_that_does_not_start_leaves_nothing(broken, monkeypatch, sandboxes_of):
    def fail(*_, **__):
        raise OSError("out of everything")

    monkeypatch.setattr(launch, "unprivileged_uid", lambda: 1)
    monkeypatch.setattr("os.chown", lambda *_: None)
    monkeypatch.setattr(broken, fail)
    before = set(Path("/tmp").glob(f"guided-gen-judge-{os.getpid()}-*"))
    with pytest.raises(OSError, match="out of everything"):
        Sandbox("rlimits", ProgramLimits(), {})
    assert set(Path("/tmp").glob(f"guided-gen-judge-{os.getpid()}-*")) == before
    assert not sandboxes_of(os.getpid())


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of packages below /tmp, as of a virtual environment there."""
    folder = Path(tempfile.mkdtemp(dir="/tmp")) / "site-packages"
    folder.parent.chmod(0o755)
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    caches = launch.library_paths, launch.shown_paths
    for cache in caches:
        cache.cache_clear()
    yield folder
    monkeypatch.undo()
    shutil.rmtree(folder.parent)
    for cache in caches:
        cache.cache_clear()


def test_packages_are_seen_wherever_they_lie(level, packages):
    (packages / "shown.py").write_text("word = 'seen'")
    assert answer(level, "import shown, os\ndef f(x): return [shown.word, os.listdir('.')]") == "['seen', []]"


def test_a_package_that_cannot_be_imported_is_the_programs_exception(level, packages, monkeypatch):
    (packages / "broken.py").write_text("raise SystemExit('broken here')")
    monkeypatch.setattr(program, "APPS_PREAMBLE", "import math\nimport broken as br")
    monkeypatch.setattr(program, "SLOW_IMPORTS", ("broken", "missing"))
    program.preamble_names.cache_clear()
    try:
        assert answer(level, "def f(x): return math.sqrt(4) if x else (br, 'missing')") == "2.0"
        assert "NameError: name 'br' is not defined" in answer(level, "def f(x): return br")
        assert "SystemExit: broken here" in answer(level, "import broken\ndef f(x): return br")
        assert "No module named 'missing'" in answer(level, "import missing\ndef f(x): return br")
    finally:
        monkeypatch.undo()
        program.preamble_names.cache_clear()


@pytest.fixture
def unreliable(monkeypatch):
    """A function: have so many sandboxes not start, from the next on."""
    failures: list[None] = []

    def sandbox(*arguments):
        if failures:
            failures.pop()
            raise SandboxDied("no processes left")
        return Sandbox(*arguments)

    monkeypatch.setattr(program, "Sandbox", sandbox)
    monkeypatch.setattr(program, "START_PAUSES", (0.0,))
    return lambda count: failures.extend([None] * count)


def test_a_sandbox_that_does_not_start_is_tried_again(unreliable):
    unreliable(1)
    assert answer(choose_isolation("auto"), "def f(x): return [x]") == "[1]"


def test_a_sandbox_that_does_not_start_costs_one_answer_which_is_judged_at_the_end(unreliable):
    unreliable(2)
    with Judge(workers=1) as judge:
        verdicts = list(judge.judge_many((n, PROBLEM, f"def f(x): return {n}") for n in range(4)))
    assert [(key, verdict.failure.got) for key, verdict in verdicts] == [(1, "1"), (2, "2"), (3, "3"), (0, "0")]


def test_what_cannot_be_judged_is_told_after_all_verdicts(unreliable, monkeypatch):
    impossible = replace(PROBLEM, id="p/2", tests=(CallTest((object(),), 1),))
    verdicts = []
    with Judge(workers=1) as judge, pytest.raises(JudgeError, match=r"2 answers were not judged, the first of them 1: .* p/2 "):
        for key, _ in judge.judge_many((n, impossible if n % 2 else PROBLEM, f"def f(x): return {n}") for n in range(4)):
            verdicts.append(key)
    assert verdicts == [0, 2]
    unreliable(10_000)
    with Judge(workers=1) as judge, pytest.raises(JudgeError, match="did not start: no processes left"):
        list(judge.judge_many((n, PROBLEM, f"def f(x): return {n}") for n in itertools.count()))


@pytest.mark.parametrize("name", ["full", "namespaces"])
def test_namespaces_show_no_other_process_and_no_network(name):
    if name not in available_levels():
        pytest.skip(f"isolation level '{name}' is not available")
    program = "import os\ndef f(x): return [os.getppid(), os.listdir('/dev/shm'), [p for p in x if os.path.exists(p)]]"
    hidden = ["/proc/self", "/etc/passwd", str(Path(__file__).resolve()), str(Path.home() / ".ssh"), "/sys/kernel"]
    problem = replace(PROBLEM, tests=(CallTest((hidden,), [1, [], []]),))
    with Judge(name, workers=1) as judge:
        verdict = judge.judge(problem, program)
        assert verdict.passed, verdict.failure


def test_killing_the_judge_ends_what_it_runs(level, sandboxes_of):
    """Even by SIGKILL, which leaves it no time to clean up."""
    program = f"""
import time
from guided_gen.data_builder.judge.judge import Judge
from guided_gen.data_builder.problems.problem import CallTest, Problem
judge = Judge({level!r}, workers=1)
judge.submit(Problem("p", "", "p", entry_point="f", tests=(CallTest((), 1),)), "import time\\ntime.sleep(60)")
time.sleep(1)
print("running", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"running\n"
        assert sandboxes_of(process.pid)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while sandboxes_of(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sandboxes_of(process.pid)
    for folder in Path("/tmp").glob(f"guided-gen-judge-{process.pid}-*"):
        assert level == "rlimits", "only there a folder outlives a killed judge"
        folder.rmdir()
