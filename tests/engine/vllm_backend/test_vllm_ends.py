"""How the vLLM backend ends and fails: each time with a clear error or cleanly, and no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen.engine.errors import BackendError
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.sampling import Sampling
from guided_gen.engine.search import Search, SearchSettings, advance_round, run
from guided_gen.engine.vllm_backend.engine import VllmEngine
from guided_gen.engine.vllm_backend.loading import start
from guided_gen.engine.vllm_backend.settings import VllmSettings

from ..served_models import descendants, saved, served_model

PROMPT = list(range(3, 60))
SETTINGS = VllmSettings(enforce_eager=True, kv_cache_memory_bytes=1 << 28)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(served_model(), tmp_path_factory.mktemp("served"))


def search_in(model: Any, **settings: Any) -> Search:
    settings = {"n": 2, "max_new_tokens": 20, "sampling": Sampling(1.0, 1.0), **settings}
    return Search(model, Prompt(PROMPT), SearchSettings(**settings))


def test_silence_cancellation_and_a_crash(folder: Path) -> None:
    """One engine through all of it: it falls silent, comes back, is interrupted, and dies."""
    model = start(folder, "float32", None, SETTINGS)
    workers = descendants()
    assert workers

    search = search_in(model)
    advance_round(model, [search])
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    model.engine.patience = 2
    stuck = search_in(model, seed=1)
    with pytest.raises(BackendError, match="produced nothing for 2 seconds"):
        run(model, [stuck])
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    model.engine.patience = 600
    run(model, [search])
    assert len(search.rollouts) == 2
    model.close(stuck.session)
    model.close(search.session)
    assert model.engine.unfinished_requests == 0

    interrupted = search_in(model, max_new_tokens=400, check_every=400)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            run(model, [interrupted])
            interrupted = search_in(model, max_new_tokens=400, check_every=400)
    model.close(interrupted.session)
    run(model, [again := search_in(model)])
    model.close(again.session)
    assert model.engine.unfinished_requests == 0

    dying = search_in(model, max_new_tokens=400)
    advance_round(model, [dying])
    os.kill(max(workers), signal.SIGKILL)
    with pytest.raises(BackendError, match="has died"):
        while not dying.done:
            advance_round(model, [dying])
    with pytest.raises(BackendError, match="has died"):
        run(model, [search_in(model)])
    model.end()
    with pytest.raises(BackendError, match="closed"):
        model.advance([])
    _wait_until_gone(workers)


def test_a_cache_too_small_for_the_context_is_one_sentence(folder: Path) -> None:
    before = descendants()
    with pytest.raises(BackendError, match=r"vLLM cannot start.*max_model_len"):
        start(folder, "float32", None, VllmSettings(enforce_eager=True, kv_cache_memory_bytes=1 << 16))
    _wait_until_gone(descendants() - before)


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    before = descendants()
    with pytest.raises(BackendError, match="vLLM cannot start"):
        VllmEngine({"model": str(tmp_path)})
    _wait_until_gone(descendants() - before)


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_program_that_ends_leaves_no_process_behind(folder: Path, tmp_path: Path, end: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import os, signal, psutil
            from pathlib import Path
            from guided_gen.engine.vllm_backend.loading import start
            from guided_gen.engine.vllm_backend.settings import VllmSettings

            if __name__ == "__main__":
                settings = VllmSettings(enforce_eager=True, kv_cache_memory_bytes=1 << 28)
                model = start(Path({str(folder)!r}), "float32", None, settings)
                print("started", *(process.pid for process in psutil.Process().children(recursive=True)), flush=True)
                {end}
            """
        )
    )
    done = subprocess.run([sys.executable, program], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == {"pass": 0, "raise SystemExit(3)": 3}.get(end, -signal.SIGKILL)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("started ")]  # vLLM's log is there too
    started = {int(pid) for pid in line.split()[1:]}
    assert len(started) >= 2
    _wait_until_gone(started)


def _wait_until_gone(pids: set[int]) -> None:
    """vLLM's processes take a moment to notice that they are not needed any more."""
    for _ in range(600):
        if not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids):
            return
        time.sleep(0.1)
    raise AssertionError(f"still running: {[psutil.Process(pid).cmdline() for pid in pids if psutil.pid_exists(pid)]}")
