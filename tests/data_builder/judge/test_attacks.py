from dataclasses import replace

import pytest

from guided_gen.data_builder.judge.attack_suite import ATTACKS, LIMITS, run_attacks
from guided_gen.data_builder.judge.isolation import LEVELS, choose_isolation

# Programs that end by themselves take less; the others get no more.
SHORT = replace(LIMITS, wall_seconds=0.8)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_never_passes_and_never_gets_out(attack):
    check(attack, choose_isolation("auto"))


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.group in ("machine", "state")], ids=lambda attack: attack.name)
def test_an_attack_on_the_machine_is_held_at_lower_levels_too(attack, level):
    if level == choose_isolation("auto"):
        pytest.skip("all attacks run at this level")
    check(attack, level)


def check(attack, level):
    (result,) = run_attacks(level, (attack,), LIMITS if attack.kind == "state" else SHORT)
    assert not result.false_pass
    assert result.verdict.isolation == level
    assert not result.escapes or attack.expected[level] == "gets out"
    if attack.kind == "state":
        assert result.verdict.tests[0] == "passed", "or the second test proves nothing"


# What the suite must see where nothing holds it, or it could not fail at the other levels.
SEEN = {
    *("writing outside", "network", "killing the judge", "abstract socket", "socket in a file", "datagrams", "test files"),
    *("daemon under another name", "the caller's keys", "doors of the kernel", "limits of the supervisor", "new namespaces"),
    *("learning from the last test", "learning by the kernel's memory", "sockets of other kinds"),
}


def test_the_arena_notices_what_gets_out_of_no_isolation():
    results = {result.attack.name: result for result in run_attacks("none", tuple(a for a in ATTACKS if a.name in SEEN))}
    assert set(results) == SEEN
    assert not [name for name, result in results.items() if result.held]
    assert results["test files"].false_pass, "who reads the expected answers passes: the reason to hide them"


def test_the_documentation_lists_what_is_known_of_every_attack_at_every_level(request):
    rows = [line.strip("|").split("|") for line in (request.config.rootpath / "docs" / "judge.md").read_text().splitlines()]
    told = {row[0].strip(): [cell.strip().strip("*") for cell in row[1:]] for row in rows if len(row) == len(LEVELS) + 1}
    for attack in ATTACKS:
        assert told.get(attack.name) == [attack.about, *(attack.expected[level] for level in LEVELS[:-1])], attack.name
