import pytest

from guided_gen.data_builder.judge.attacks import ATTACKS, run_attacks
from guided_gen.data_builder.judge.isolation import LEVELS

# What process limits and Landlock do not hold, as docs/judge.md says: there are no namespaces and no file system of limited size.
NOT_CONTAINED = {("rlimits", "datagrams"), ("rlimits", "disk filling"), ("rlimits", "shared memory")}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_never_passes_and_never_gets_out(attack, level):
    (result,) = run_attacks(level, (attack,))
    assert not result.verdict.passed
    assert result.verdict.isolation == level
    assert not result.escapes or (level, attack.name) in NOT_CONTAINED


def test_the_arena_notices_what_gets_out_of_no_isolation():
    """The suite's own check: without isolation its evidence must show, or it could not fail at the other levels."""
    names = {
        "writing outside",
        "network",
        "killing the judge",
        "abstract socket",
        "datagrams",
        "test files",
        "daemon under another name",
    }
    results = {result.attack.name: result for result in run_attacks("none", tuple(a for a in ATTACKS if a.name in names))}
    assert set(results) == names
    assert not [name for name, result in results.items() if result.held]
    assert results["test files"].verdict.passed, "who reads the expected answers passes: the reason to hide them"


def test_the_documentation_lists_every_attack_at_every_level(request):
    text = (request.config.rootpath / "docs" / "judge.md").read_text()
    rows = {line.split("|")[1].strip(): line.count("|") for line in text.splitlines() if line.startswith("| ")}
    assert {attack.name for attack in ATTACKS} <= set(rows)
    assert all(rows[attack.name] == len(LEVELS) + 2 for attack in ATTACKS)
