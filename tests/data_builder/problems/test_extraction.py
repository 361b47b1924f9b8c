"""The program comes out of an answer whatever stands around it."""

import contextlib
import io
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guided_gen.data_builder.problems.extraction import MAX_ANSWER, extract_program
from guided_gen.data_builder.problems.syntax import parses

LINES = st.text(st.characters(exclude_characters="`~\n\r", exclude_categories=["Cs"]), max_size=40)
TEXTS = st.lists(LINES, max_size=6).map("\n".join)
PROGRAMS = TEXTS.filter(lambda text: text.strip() != "")
TAGS = st.sampled_from(["", "python", "Python", "py", "python3"])
PROGRAM = "def f(x):\n    return x + 1"
READS = "n = int(input())\nprint(n + 1)"


@given(TEXTS, PROGRAMS, TEXTS, TAGS, st.sampled_from(["```", "````", "~~~"]))
def test_a_fenced_program_comes_out_exactly_whatever_stands_around_it(before, program, after, tag, fence):
    assert extract_program(f"{before}\n{fence}{tag}\n{program}\n{fence}\n{after}") == program


@given(TEXTS, PROGRAMS, TAGS)
def test_an_unclosed_block_reaches_to_the_end(before, program, tag):
    assert extract_program(f"{before}\n```{tag}\n{program}") == program


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), TEXTS)
def test_the_last_of_several_whole_programs_is_taken(numbers, between):
    programs = [f"def f(x):\n    return {number}" for number in numbers]
    assert extract_program(f"\n{between}\n".join(f"```python\n{program}\n```" for program in programs)) == programs[-1]


@given(st.lists(PROGRAMS, min_size=1, max_size=3))
def test_a_block_that_parses_comes_before_blocks_that_do_not(texts):
    others = [text for text in texts if not parses(text)]
    answer = "\n".join(f"```python\n{text}\n```" for text in [PROGRAM, *others])
    assert extract_program(answer) == PROGRAM


PIECES = [
    "`",
    "```",
    "````python\n",
    "```\n",
    "~~~\n",
    "> ",
    "    ",
    "\t",
    "\n",
    "\r\n",
    '"""',
    "'",
    "def f(x):\n",
    "return x\n",
    "x = 1\n",
]
PIECES += [
    "import os\n",
    "<think>",
    "</think>",
    "(",
    ")",
    "[",
    "1+" * 500 + "1",
    "@a\n",
    "é",
    "\x00",
    "\xa0",
    "\ud800",
    "\\",
    "#",
    "class A:\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(max_examples=300)
def test_no_answer_makes_it_fail(answer):
    assert isinstance(extract_program(answer), str)


@pytest.mark.timeout(20)  # what takes time that is quadratic in its length takes minutes
@pytest.mark.parametrize(
    "piece", ["@a\n", "x: y\n", "(", "x = [\n", "```\nx```\n", "```python\ndef f(): pass\n```\n", '"""\n', "a, ", "\n"]
)
def test_extracting_takes_linear_time_and_long_answers_are_not_looked_at(piece):
    assert isinstance(extract_program(piece * (MAX_ANSWER // len(piece))), str)
    assert extract_program(piece * (1_000_000 // len(piece))) == ""


def works(program: str) -> bool:
    """Whether f(1) is 2 or, without any f, 5 is printed for the input 4."""
    scope: dict[str, Any] = {"__name__": "__main__"}
    printed, given_input = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO("4\n")
    try:
        with contextlib.redirect_stdout(printed):
            exec(program, scope)
    finally:
        sys.stdin = given_input
    return scope["f"](1) == 2 if "f" in scope else printed.getvalue().split() == ["5"]


@pytest.mark.parametrize(
    "answer",
    [
        PROGRAM,
        f"# adds one\n{PROGRAM}",
        f"Here is the function:\n\n{PROGRAM}\n\nIt adds one to the argument.",
        f"for any x we return x + 1.\n{PROGRAM}",
        f"```python\n{PROGRAM}\n```\nRun it:\n```bash\npython f.py\n```",
        f"```python\n{PROGRAM}\n```\nRun it:\n```\npython f.py < in.txt\n```",
        f"```python\n{PROGRAM}\n```\nIt prints\n```text\n2\n```",
        f"```python\n{PROGRAM}\n```\nIt prints\n```\n2\n```",
        f"```python\n{PROGRAM}\n```\n```",
        f"```python title=f.py\n{PROGRAM}\n```",
        f"``` python\n{PROGRAM}\n```",
        f"```\nplan\n```python\n{PROGRAM}\n```",
        f"```java\nint x;\n```\n```\n{PROGRAM}\n```",
        f"```python\r\n{PROGRAM}\r\n```\r\n".replace("\n    ", "\r\n    "),
        f"```python\n{PROGRAM}\n```\nUsage:\n```python\nprint(f(1))\n```",
        f"```python\n{PROGRAM}\n```\nChecks:\n```python\nassert f(1) == 3\n```",
        f"```python\n{PROGRAM}\n```\n```python\n>>> f(1)\n2\n```",
        f"```python\n{PROGRAM}\n```\nIn Python 2:\n```python\nprint f(1)\n```",
        f"```python\n{PROGRAM}\n```\nThe key line:\n```python\n    return x + 1\n```",
        f"```python\n{PROGRAM}\n```\nIt is linear:\n```\nTime: O(n)\n```",
        f"```python\n{PROGRAM}\n```\nTests:\n```python\nimport pytest\n\ndef check():\n    assert f(1) == 2\n```",
        f"```python\n{PROGRAM}\n```\nTests:\n```python\ndef test_f():\n    assert f(1) == 2\n\ntest_f()\n```",
        "```python\ndef g(x):\n    return x + 1\n```\nand\n```python\ndef f(x):\n    return g(x)\n```",
        "```python\ndef f(x):\n    return g(x)\n```\nwith\n```python\ndef g(x):\n    return x + 1\n```\nso\n```python\nf(1)\n```",
        "```python\nimport math\n```\n```python\ndef f(x):\n    return math.floor(x) + 1\n```",
        "```python\nONE = 1\n```\n```python\ndef g(x):\n    return x + ONE\n```\n```python\ndef f(x):\n    return g(x)\n```",
        "```python\ndef g():\n    return 1\n\ndef f(x):\n    return x + g()\n```\nwhere\n```python\ndef g():\n    return 1\n```",
        f"```python\ndef f(x):\n    return x\n```\nThat is wrong:\n```python\n{PROGRAM}\n```",
        '```python\ndef f(x):\n    """One more.\n\n```\nf(1)\n```\n    """\n    return x + 1\n```',
        f"````markdown\nThis:\n```python\n{PROGRAM}\n```\n````",
        f"```markdown\n{PROGRAM}\n```\n```python\n{PROGRAM}\n```",
        f"```python\n{PROGRAM}```",
        "```python def f(x): return x + 1```",
        "``` def f(x): return x + 1 ```",
        f"```python:f.py\n{PROGRAM}\n```\n```bash\nls\n```",
        f"```python3.11\n{PROGRAM}\n```\n```\n2\n```",
        f"```python, f.py\n{PROGRAM}\n```\n```\n2\n```",
        f"```{{.python}}\n{PROGRAM}\n```\n```\n2\n```",
        f"```ipython\n{PROGRAM}\n```\n```text\n2\n```",
        "1. Code:\n\n    ```python\n    def f(x):\n        return x + 1\n    ```\n",
        "-\tCode:\n\t```python\n\tdef f(x):\n\t    return x + 1\n\t```\n",
        "> ```python\n> def f(x):\n>     return x + 1\n> ```",
        "> Code:\n>\n> ```python\n> def f(x):\n>\n>     return x + 1\n> ```",
        "```python\ndef f(x):\n\xa0\xa0\xa0\xa0return x\xa0+ 1\n```",
        "```python\n    def f(x):\n        return x + 1\n```",
        "```python\n\tdef f(x):\n\t\treturn x + 1\n```",
        "<think>\ndef f(x):\n    return x\n</think>\ndef f(x):\n    return x + 1",
        f"<think>\n```python\ndef f(x):\n    return x\n```\n</think>\n{PROGRAM}",
        f"<think>\n```python\ndef f(x):\n    return x\n```\n</think>\n```python\n{PROGRAM}\n```",
        READS,
        f"Code:\n\n{READS}\n\nIt reads a number.",
        "Code:\n\n(n,) = map(int, input().split())\nprint(n + 1)",
        "Code:\n\nn: int = int(input())\nprint(n + 1)",
        "Code:\n\n[n] = [int(input())]\nprint(n + 1)",
        f"```python\n{READS}\n```\nFor 4:\n```python\nprint(4 + 1)\n```",
        "```python\nimport sys\nprint(int(sys.stdin.read()) + 1)\n```\nExample input:\n```\n4\n```",
        "```python\ndef more(n):\n    return n + 1\n```\n```python\nprint(more(int(input())))\n```",
    ],
)
def test_other_shapes_of_answers(answer):
    assert works(extract_program(answer))


def test_a_block_in_a_list_loses_the_lists_indentation():
    assert extract_program("1. Write\n   ```python\n   def f(x):\n       return x\n   ```") == "def f(x):\n    return x"


def test_a_fence_inside_a_string_of_the_program_is_content():
    for indent in ("    ", ""):
        program = f'def f(x):\n    """\n{indent}```\n    f(1)\n{indent}```\n    """\n    return x'
        assert extract_program(f"```python\n{program}\n```") == program


@pytest.mark.parametrize("reading", ["input()", "sys.stdin.read()", "open(0).read()", "open('/dev/stdin').read()"])
def test_a_program_that_reads_the_input_comes_before_what_it_prints(reading):
    program = f"import sys\nprint(int({reading}) + 1)"
    assert extract_program(f"```python\n{program}\n```\nwhich prints\n```\n5\n```") == program


def test_a_string_that_is_never_closed_does_not_swallow_the_rest():
    answer = f'```python\n{PROGRAM}\n```\nor\n```python\ndef f(x):\n    """Adds\n    return x\n```\nas you like.'
    assert extract_program(answer) == PROGRAM


def test_a_block_of_another_language_alone_is_what_there_is():
    assert extract_program("```java\nint x;\n```") == "int x;"


@pytest.mark.parametrize("answer", ["", "I cannot solve this.", "```python\n```", "```"])
def test_an_answer_without_a_program_gives_nothing(answer):
    assert extract_program(answer) == ""


def test_a_program_that_is_cut_off_is_kept_to_be_judged_as_it_is():
    assert extract_program("Sure.\ndef f(x):\n    return g(") == "def f(x):\n    return g("


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>\n```python\n{PROGRAM}\n```\nWait,",
        f"<think>\n{PROGRAM}\n</think>\n",
        f"```python\n{PROGRAM}\n```\n</think>\nNo program.",
        f"  <think>\n```python\n{PROGRAM}\n```",
    ],
)
def test_a_draft_amid_thinking_is_not_the_answer(answer):
    assert "def f" not in extract_program(answer)


def test_a_program_may_speak_of_thinking():
    assert "def f" in extract_program("```python\ndef f(x):\n    print('<think>')\n    return x + 1\n```")
    assert works(extract_program(f"```python\n{PROGRAM}\n```\n<think>\n```python\n0\n```"))
