import os
from pathlib import Path

import pytest

from guided_gen.data_builder.judge.isolation import LEVELS, available_levels, why_unavailable


@pytest.fixture(params=LEVELS[:-1])
def level(request, record_property):
    """Each isolation level in turn; those that this machine does not have are skipped, with the reason."""
    reason = why_unavailable(request.param)
    if reason is not None:
        pytest.skip(f"isolation level '{request.param}' is not available: {reason}")
    record_property("isolation", request.param)
    return request.param


@pytest.fixture
def hidden_bubblewrap(monkeypatch):
    """A machine without bubblewrap, as far as anybody can see."""
    monkeypatch.setenv("PATH", os.devnull)
    why_unavailable.cache_clear()
    yield
    monkeypatch.undo()
    why_unavailable.cache_clear()


@pytest.fixture
def sandboxes_of():
    """A function: the running sandbox processes that the process `pid` started."""

    def find(pid):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"judge-{pid}".encode() in command.split(b"\0"):
                found.append(int(process.name))
        return found

    return find


def pytest_terminal_summary(terminalreporter):
    told = [told for report in terminalreporter.stats.get("passed", []) for told in report.user_properties]
    if ran := [name for name in available_levels() if ("isolation", name) in told]:
        terminalreporter.write_line(f"judge: isolation levels tested: {', '.join(ran)}")
