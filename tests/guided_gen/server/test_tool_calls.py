"""Calls in texts: the forms that models write, told alike whatever pieces the text comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.server.tool_calls import CallReader, ToolCall, read_calls

CALL = '{"name": "f", "arguments": {"a": 1}}'
OTHER = '{"name": "g", "arguments": {}}'
TEXTS = {
    f"Hi there.\n<tool_call>\n{CALL}\n</tool_call>\n<tool_call>\n{OTHER}\n</tool_call>": ("Hi there.", 2),
    CALL: ("", 1),
    f"```json\n{CALL}\n```": ("", 1),
    f"  \n```\n{CALL}\n```\nbye": ("bye", 1),
    f"{CALL}\n{CALL} done. And more\n": ("done. And more", 2),
    f"[{CALL}, {CALL}]": ("", 2),
    '<tools>\n{"type": "function", "function": {"name": "f", "arguments": "{}"}}\n</tools>': ("", 1),
    '{"name": "f", "arguments": {"a": "x\\"} <tool_call>"}}': ("", 1),
    '```json\n{"name": "unknown"}\n```\nEnd\n': ('```json\n{"name": "unknown"}\n```\nEnd\n', 0),
    'Look:\n```python\nd = {"name": 1}\n```\n ok ': ('Look:\n```python\nd = {"name": 1}\n```\n ok ', 0),
    "{'a': 1}\nmore {text}\n[1": ("{'a': 1}\nmore {text}\n[1", 0),
    '<tool_call>{"name": "f", "arguments": {"a": tru': ('<tool_call>{"name": "f", "arguments": {"a": tru', 0),
    '{"name": "f", "arguments": [1]}': ('{"name": "f", "arguments": [1]}', 0),
}


def in_pieces(text: str, sizes: list[int]) -> tuple[str, list[ToolCall]]:
    reader, parts, at = CallReader(["f", "g"]), [], 0
    for size in sizes:
        parts += reader.add(text[at : at + size])
        at += size
    parts += reader.add(text[at:]) + reader.add("", final=True)
    return "".join(p for p in parts if isinstance(p, str)), [p for p in parts if isinstance(p, ToolCall)]


@pytest.mark.parametrize("text", TEXTS)
def test_the_forms_that_models_write(text: str) -> None:
    content, calls = read_calls(text, ["f", "g"])
    assert (content, len(calls)) == TEXTS[text]


@given(st.sampled_from(sorted(TEXTS)), st.lists(st.integers(1, 6), max_size=60))
def test_pieces_change_nothing(text: str, sizes: list[int]) -> None:
    assert in_pieces(text, sizes) == read_calls(text, ["f", "g"])


@given(st.text('{}[]"`<>tool_cajsn:\n 1,'), st.lists(st.integers(1, 6), max_size=30))
def test_no_text_is_lost(text: str, sizes: list[int]) -> None:
    assert in_pieces(text, sizes) == (text, []) == read_calls(text, ["f", "g"])


def test_content_is_told_before_a_call_is_whole() -> None:
    reader = CallReader(["f"])
    assert reader.add("Let me see.\n<tool_call>\n{") == ["Let me see."]
    assert reader.add('"name": "f"}\n</tool_call>') == [ToolCall("f", "{}")]


@given(
    st.lists(st.sampled_from([*TEXTS, CALL, '{"name": []}', '{"function": {"name": {}}}', "```", "\n", " x"]), max_size=6).map(
        "".join
    )
)
def test_no_text_makes_reading_fail(text: str) -> None:
    read_calls(text, {"f", "g"})


@pytest.mark.parametrize("piece", [f"{CALL}\n", "<tool_call> ", "```\n", "[", " ", "\n{", '{"a":"', "\\"])
def test_a_megabyte_takes_linear_time(piece: str) -> None:
    read_calls(piece * (1_000_000 // len(piece)), {"f"})


def test_many_openings_take_linear_time() -> None:
    text = '{"a":\n' * 200_000
    assert read_calls(text, ["f"]) == (text, [])
