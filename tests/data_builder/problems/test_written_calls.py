"""Calls that programs make of the asked function."""

from __future__ import annotations

import pytest

from guided_gen.data_builder.problems.written_calls import written_calls


def test_literal_calls_are_read_once_each_in_their_order():
    program = """
def f(a, b=0):
    return f(a, b) if a else 0
print(f([1, 2], -3), Solution().f({"x": (1, 2)}))
assert f([1, 2], -3) == 4
if __name__ == "__main__":
    print("f(7)", f("seven"))
"""
    assert written_calls(program, "f") == [([1, 2], -3), ({"x": (1, 2)},), ("seven",)]


@pytest.mark.parametrize(
    "program",
    [
        "f(x)",
        "f(1, key=2)",
        "f(*[1])",
        "g(1)",
        "f(1",
        "",
        "\0",
        "f(" * 5000,
        "f(" + "[" * 90 + "]" * 90 + ")" + "-" * 20_000,
        "f(1 + 1j * 2)",
        "f(print)",
        "f(...)",
    ],
)
def test_anything_else_is_no_input(program):
    assert written_calls(program, "f") == []


def test_a_number_too_long_to_print_is_left_out():
    assert written_calls(f"f({'9' * 5000})\nf(0x{'f' * 9000})\nf(3)", "f")[-1:] in ([(3,)], [])
