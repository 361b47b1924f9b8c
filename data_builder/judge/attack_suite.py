"""The attack suite: hostile programs, run against the judge at an isolation level, and what they achieved.

The programs are in attacks/*.py.txt, one after the other, each below a line `### name`; attacks/table.tsv says of each what it
does, how it is called, and whether it is held at each level. A program wins by a *false pass* (the expected answers are random
tokens, so that only who finds them can give them) or by an *escape*: something outside its sandbox, or of the test before, that
it read, changed or left behind. It returns text that begins with ESCAPED where it can see that for itself.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..problems.problem import AssertTest, CallTest, Problem, StdinTest, Test
from .arena import Arena
from .isolation import LEVELS
from .judge import Judge
from .verdict import Isolation, ProgramLimits, Verdict

# Tight, so that programs that never end cost little time.
LIMITS = ProgramLimits(
    cpu_seconds=1,
    wall_seconds=1.5,
    program_seconds=15,
    memory_bytes=512 << 20,
    output_bytes=1 << 20,
    file_bytes=8 << 20,
    temp_bytes=32 << 20,
)
FOLDER = Path(__file__).with_name("attacks")
# Looks for tokens like the expected ones (32 hexadecimal digits) in whatever text it is given.
HUNT = """
import re
TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
def pick(texts, x):
    found = [t for text in texts for t in TOKEN.findall(text) if t != x]
    return found[0] if found else "nothing found"
"""
# The forms in which a token is expected by an assert.
CONDITIONS = (
    *("f({x}) == {t}", "{t} == f({x})", "f({x}) in ({t}, 5)", "{t} in f({x})", "f({x}).startswith({t})", "str(f({x})) == {t}"),
    *("list(f({x})) == [{t}]", "sorted(f({x})) == [{t}]", "{{{t}}}.issubset(f({x}))", "[f({x})] == [{t}]", "not f({x}) != {t}"),
    *("abs(f({x}) - int({t}, 16)) < 1", "all(a == b for a, b in zip([{t}], f({x})))", "list(map(f, [{x}])) == [{t}]"),
    "next(iter(f({x}))) == {t}",
)


@dataclass(frozen=True)
class Attack:
    """`about` says what `program` does; `group` is its file; `kind` how it is called; `expected`, by level, "held" or "gets out".

    kind: call and stdin get inputs for which only a token is right; assert runs asserts of many forms; state is called twice and
    passes the first time, so that there is a second: what it returns then says whether anything of the first time is left.
    """

    name: str
    kind: Literal["call", "stdin", "assert", "state"]
    about: str
    group: str
    program: str
    expected: dict[str, str]


@dataclass(frozen=True)
class AttackResult:
    """`escapes` has one sentence for each thing that the attack reached or left outside its sandbox.

    `standstill` is the longest time, in seconds, for which another thread of the judge's process did not run.
    """

    attack: Attack
    isolation: Isolation
    verdict: Verdict
    escapes: tuple[str, ...]
    standstill: float

    @property
    def false_pass(self) -> bool:
        """Whether any test passed whose answer it could not know."""
        return "passed" in self.verdict.tests[self.attack.kind == "state" :]

    @property
    def held(self) -> bool:
        """Whether it achieved nothing."""
        return not self.false_pass and not self.escapes


def _read_attacks() -> tuple[Attack, ...]:
    programs: dict[str, tuple[str, str]] = {}  # name: (file, program)
    for path in FOLDER.glob("*.py.txt"):
        _, *sections = re.split(r"^### (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        group = path.name.removesuffix(".py.txt")
        programs |= {name: (group, program) for name, program in zip(sections[::2], sections[1::2], strict=True)}
    with (FOLDER / "table.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    return tuple(
        Attack(row["name"], row["kind"], row["about"], *programs[row["name"]], {level: row[level] for level in LEVELS[:-1]})  # type: ignore[arg-type]
        for row in rows
    )


ATTACKS = _read_attacks()


def run_attacks(
    isolation: Isolation, attacks: tuple[Attack, ...] = ATTACKS, limits: ProgramLimits = LIMITS
) -> Iterator[AttackResult]:
    """Run the attacks one after another at one level. What they leave behind is found, reported and removed."""
    with Arena() as arena:
        for attack in attacks:
            problem = Problem(
                attack.name, "", "attack", entry_point=None if attack.kind == "stdin" else "f", tests=_tests(attack, arena)
            )
            arena.begin()
            with Judge(isolation, workers=1, limits=limits, stop_at_first_failure=attack.kind != "assert") as judge:
                verdict = judge.judge(problem, arena.filled_in(_expanded(attack.program)))
            escapes = arena.escapes()
            if verdict.failure is not None and verdict.failure.got.startswith("ESCAPED"):
                escapes.append(verdict.failure.got.removeprefix("ESCAPED: "))
            yield AttackResult(attack, isolation, verdict, tuple(escapes), arena.standstill)


def _expanded(program: str) -> str:
    program = program.replace("@HUNT@", HUNT)
    return re.sub(r"@REPEAT (.) (\d+)@", lambda match: match[1] * int(match[2]), program)


def _tests(attack: Attack, arena: Arena) -> tuple[Test, ...]:
    tokens = arena.tokens
    if attack.kind == "stdin":
        return tuple(StdinTest(f"{given}\n", f"{wanted}\n") for given, wanted in tokens.items())
    tests = tuple(CallTest((given,), wanted) for given, wanted in tokens.items())
    if attack.kind == "assert":
        ((given, wanted), *_) = tokens.items()
        return tuple(AssertTest("assert " + condition.format(x=repr(given), t=repr(wanted))) for condition in CONDITIONS)
    return (replace(tests[0], expected=tests[0].args[0]), tests[1]) if attack.kind == "state" else tests
