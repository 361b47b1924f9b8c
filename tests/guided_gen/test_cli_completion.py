"""A shell is offered what an argument may be: files, models, policies, settings, options."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete

from guided_gen.cli import cli
from guided_gen.engine.models.known import KNOWN_MODELS
from guided_gen.engine.policy_names import POLICIES


def offered(*words: str) -> list[tuple[str, str]]:
    """(type, value) of what completes the last word."""
    completer = ShellComplete(cli, {}, "guided-gen", "_GUIDED_GEN_COMPLETE")
    return [(item.type, item.value) for item in completer.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize("command", ["solve", "examples"])
def test_a_statement_may_be_a_file(command: str) -> None:
    assert offered(command, "ex") == [("file", "ex")]


def test_known_models_policies_settings_and_options_are_named() -> None:
    assert offered("solve", "--model", "") == [("plain", name) for name in KNOWN_MODELS]
    assert offered("solve", "--model", "./m") == [("file", "./m")]
    assert offered("serve", "--policy", "") == [("plain", name) for name in POLICIES]
    assert offered("config", "set", "max-new") == [("plain", "max-new-tokens")]
    assert offered("config", "set", "qui") == []
    assert ("plain", "--tests") in offered("solve", "--te")
