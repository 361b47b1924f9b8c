"""The program comes out of an answer whatever stands around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guided_gen.data_builder.problems.extraction import extract_program

LINES = st.text(st.characters(exclude_characters="`~\n\r", exclude_categories=["Cs"]), max_size=40)
TEXTS = st.lists(LINES, max_size=6).map("\n".join)
PROGRAMS = TEXTS.filter(lambda text: text.strip() != "")
TAGS = st.sampled_from(["", "python", "Python", "py", "python3"])
PROGRAM = "def f(x):\n    return x + 1"


@given(TEXTS, PROGRAMS, TEXTS, TAGS, st.sampled_from(["```", "````", "~~~"]))
def test_a_fenced_program_comes_out_exactly_whatever_stands_around_it(before, program, after, tag, fence):
    assert extract_program(f"{before}\n{fence}{tag}\n{program}\n{fence}\n{after}") == program


@given(TEXTS, PROGRAMS, TAGS)
def test_an_unclosed_block_reaches_to_the_end(before, program, tag):
    assert extract_program(f"{before}\n```{tag}\n{program}") == program


@given(st.lists(PROGRAMS, min_size=1, max_size=4), TEXTS)
def test_the_last_of_several_blocks_is_taken(programs, between):
    answer = f"\n{between}\n".join(f"```python\n{program}\n```" for program in programs)
    assert extract_program(answer) == programs[-1]


@given(st.text(st.sampled_from("`~ \npython=(x):\"'\r\t\x00é")))
def test_no_answer_makes_it_fail(answer):
    assert isinstance(extract_program(answer), str)


@pytest.mark.parametrize(
    "answer",
    [
        PROGRAM,
        f"# adds one\n{PROGRAM}",
        f"Here is the function:\n\n{PROGRAM}\n\nIt adds one to the argument.",
        f"for any x we return x + 1.\n{PROGRAM}",
        f"```python\n{PROGRAM}\n```\nRun it:\n```bash\npython f.py\n```",
        f"```python\n{PROGRAM}\n```\nIt prints\n```text\n2\n```",
        f"```python\n{PROGRAM}\n```\n```",
        f"```python title=f.py\n{PROGRAM}\n```",
        f"``` python\n{PROGRAM}\n```",
        f"```\nplan\n```python\n{PROGRAM}\n```",
        f"```java\nint x;\n```\n```\n{PROGRAM}\n```",
        f"```python\r\n{PROGRAM}\r\n```\r\n".replace("\n    ", "\r\n    "),
    ],
)
def test_other_shapes_of_answers(answer):
    scope: dict = {}
    exec(extract_program(answer), scope)
    assert scope["f"](1) == 2


def test_a_block_in_a_list_loses_the_lists_indentation():
    assert extract_program("1. Write\n   ```python\n   def f(x):\n       return x\n   ```") == "def f(x):\n    return x"


def test_a_fence_inside_a_string_of_the_program_is_content_if_it_is_indented():
    program = 'def f(x):\n    """\n    ```\n    f(1)\n    ```\n    """\n    return x'
    assert extract_program(f"```python\n{program}\n```") == program


def test_a_block_of_another_language_alone_is_what_there_is():
    assert extract_program("```java\nint x;\n```") == "int x;"


@pytest.mark.parametrize("answer", ["", "I cannot solve this.", "```python\n```", "```"])
def test_an_answer_without_a_program_gives_nothing(answer):
    assert extract_program(answer) == ""


def test_a_program_that_is_cut_off_is_kept_to_be_judged_as_it_is():
    assert extract_program("Sure.\ndef f(x):\n    return g(") == "def f(x):\n    return g("
