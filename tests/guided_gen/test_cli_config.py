"""`guided-gen config`: a user's own defaults, of the options that there are."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guided_gen.cli import main
from guided_gen.cli.config import configured
from guided_gen.generator import GuidedGenerator

from .made_up_solutions import MadeUpGenerator, candidate, solution


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["guided-gen", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "of mine" / "config.toml"
    monkeypatch.setenv("GUIDED_GEN_CONFIG", str(path))
    return path


def test_a_default_that_is_set_is_used_until_it_is_unset(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = MadeUpGenerator(solution(candidate("pass")))
    asked: list[str] = []
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda model, **_: (asked.append(model), generator)[1])
    for name, value in (("model", 'a "quoted" name'), ("n", "3"), ("temperature", "0.5"), ("value", "none")):
        assert run(monkeypatch, "config", "set", name, value) == 0
    assert run(monkeypatch, "solve", "Double it.") == 0
    assert asked == ['a "quoted" name'] and generator.asked[1].n == 3 and generator.asked[1].sampling.temperature == 0.5
    assert run(monkeypatch, "solve", "Double it.", "--n", "4", "--model", "other") == 0
    assert asked[1:] == ["other"] and generator.asked[1].n == 4
    assert run(monkeypatch, "config", "set", "vllm", "max_num_seqs=8") == 0
    assert run(monkeypatch, "solve", "Double it.", "--backend", "vllm") == 0
    assert run(monkeypatch, "config", "unset", "vllm") == 0
    capsys.readouterr()
    assert run(monkeypatch, "config", "unset", "model") == run(monkeypatch, "config", "show") == 0
    assert capsys.readouterr().out == 'n = 3\ntemperature = 0.5\nvalue = "none"\n'


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["set", "models", "x"], 1, "no option --models"),
        (["set", "n", "many"], 2, "not a valid integer"),
        (["set", "json", "true"], 1, "flag"),
        (["unset", "model"], 1, "no default"),
        (["set", "temperature", "nan"], 1, "cannot be 'nan' by default"),
        (["set", "seed", "9" * 30], 1, "by default"),
        (["set", "model", "\udcff"], 1, "by default"),
    ],
)
def test_what_is_no_option_or_no_value_of_it_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    assert run(monkeypatch, "config", *arguments) == code
    assert says in capsys.readouterr().err and not file.exists()


@pytest.mark.parametrize(
    "text", ["model = \n", "n = " + "[" * 9000, "n = " + "9" * 9000, "a" + ".a" * 500_000, "n = 1\n" * 2, "n = '\x80'"]
)
def test_a_broken_file_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file.parent.mkdir()
    file.write_text(text, encoding="latin-1")
    assert run(monkeypatch, "solve", "Double it.") == 1
    assert str(file) in capsys.readouterr().err


NAMES = st.sampled_from(["n", "model", "temperature", "vllm", "json", "policy", "seed", "value", "check-at"]) | st.text(
    "a-é\n", max_size=3
)
NODES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text('aé"\n\x7f', max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("a.", max_size=2), inner, max_size=2),
    max_leaves=5,
).map(lambda value: re.sub('": ', '" = ', json.dumps(value)).replace("NaN", "nan").replace("Infinity", "inf"))
LINES = st.tuples(NAMES.map(json.dumps), NODES | st.sampled_from(["1979-05-27", "07:32:00", f"0x{'F' * 5000}", ""])).map(
    " = ".join
)


@given(st.lists(LINES, max_size=3).map("\n".join) | st.text("na=[]{}'\"\n.1#", max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_file_holds_it_is_used_or_refused(file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(GuidedGenerator, "from_pretrained", lambda model, **_: MadeUpGenerator(solution(candidate("pass"))))
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    assert run(monkeypatch, "solve", "Double it.") in (0, 1, 2)
    if run(monkeypatch, "config", "set", "model", "mine") == 0:
        assert configured()["model"] == "mine"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_a_default(file: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert run(monkeypatch, "config", "set", "--", "model", text) == 0
    assert configured() == {"model": text}


def test_a_name_that_is_none_is_no_default(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("policy", "wide"), ("scorer", "taste"), ("n", "many"), ("colour", "red")):
        assert run(monkeypatch, "config", "set", name, value) in (1, 2)
    assert not file.exists()
    assert run(monkeypatch, "config", "set", "policy", "beam:width=4") == 0
