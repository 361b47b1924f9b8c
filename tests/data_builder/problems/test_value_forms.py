"""Values with what comes of them are matched to the parameters, whether labels, words, arrows or tables tell them apart."""

import pytest

from guided_gen.data_builder.problems.examples import call_examples
from guided_gen.data_builder.problems.problem import CallTest

ONE = "def f(n):"
TWO = "class Solution:\n    def f(self, nums: List[int], target: int) -> int:\n        "
TEXT = "def f(word: str) -> str:"


def read(starter: str, text: str) -> list[CallTest]:
    return [test for example in call_examples(text, "f", starter)[1] if isinstance(test := example.test, CallTest)]


@pytest.mark.parametrize(
    "text",
    [
        "Input: nums = [4,5], target = 9\nOutput: 1",
        "**Input:** nums = [4,5], target = 9\n**Output:** 1",
        "<strong>Input:</strong> nums = [4,5], target = 9\n<strong>Output:</strong> 1\n<strong>Explanation:</strong> 4 + 5 = 9",
        "Example 1:\n\nInput: nums = [4, 5], target = 9\nOutput: 1\nExplanation: 4 + 5 = 9.\n\nConstraints:\n1 <= nums.length",
        "Input:nums=[4,5],target=9\nOutput:1",
        "Input: [4,5], 9\nOutput: 1",
        "Input: target = 9, nums = [4,5]\nOutput: 1",
        "Input: numbers = [4,5], k = 9\nOutput: 1",
        "Input: nums = [4,5]\ntarget = 9\nOutput: 1",
        "Input:\nnums = [4,5]\ntarget = 9\nOutput:\n1",
        "Input\nnums = [4,5], target = 9\n\nOutput\n1",
        "- Input: nums = [4,5], target = 9\n- Output: 1",
        "> Input: nums = [4,5], target = 9\n> Output: 1",
        "    Input: nums = [4,5], target = 9\n    Output: 1",
        "Input: nums = [4,5], target = 9 Output: 1",
        "Input: nums = [4,5], target = 9 -> Output: 1",
        "Input: `nums = [4,5]`, `target = 9`\nOutput: `1`",
        "Input: nums = [4,5], target = 9\nExpected output: 1",
        "Input: nums = [4,5], target = 9\nResult: 1",
        "Input: nums = [4,5], target = 9\nReturn: 1",
        "Sample input: nums = [4,5], target = 9\nSample output: 1",
        "Input 1: nums = [4,5], target = 9\nOutput 1: 1",
        "Input: nums = {4, 5}, target = 9\nOutput: 1",
        "For nums = [4, 5] and target = 9, the output should be 1.",
        "For `nums = [4, 5]` and `target = 9`, the output should be `1`.",
        "For nums = [4, 5], target = 9 the result should be 1",
        "Given nums = [4, 5], target = 9, return 1.",
        "If nums is [4, 5] and target is 9, your function should return 1.",
        "nums = [4, 5], target = 9 --> 1",
        "For\n```\nnums = [4,\n        5]\ntarget = 9\n```\nthe output should be 1.",
        "For nums = [4, 5] and target = 9, the output should be\nf(nums, target) = 1.",
        "nums, target = [4, 5], 9 => 1",
        "[4, 5], 9 -> 1",
        "([4, 5], 9) -> 1",
        "1. [4, 5], 9 => 1",
        "E.g. for [4, 5] and 9 it should return 1",
        "For example, if the parameters passed are ([4, 5], 9), the function should return 1 as 4 + 5 = 9.",
        "| nums | target | output |\n|---|---|---|\n| [4, 5] | 9 | 1 |",
        "nums    target    result\n[4, 5]  9         1",
        "nums = [4,5]\ntarget = 9\n\nThere is one pair.\nTherefore we return 1.",
    ],
)
def test_values_are_matched_to_two_parameters(text):
    assert read(TWO, f"Count the pairs.\n\n{text}\n") == [CallTest(([4, 5], 9), 1)]


@pytest.mark.parametrize(
    "text",
    [
        "Input: 20\nOutput: 40",
        "Input 20 -> Result 40",
        "Input: 20 => Output: 40",
        "Input: 20, Output: 40",
        "Input: 20 and Output: 40",
        "**E.g. Input: 20 => Output: 40**",
        "For example, input: 20, output: 40",
        "input = 20\noutput = 40",
        "input // 20\noutput // 40",
        "input number: 20\nouptut: 40",
        "Input: 20\nTwice as much:\nOutput: 40",
        "20 -> 40",
        "20 --> 40 (twice)",
        "20 ==> return 40",
        "20 → 40",
        "* 20 -> 40",
        "n = 20 -> 40",
        "n=20 => 40",
        "for 20 the answer is 40",
        "For n = 20, the answer is 40.",
        "when n is 20, the function returns 40",
        "For the input 20, return 40",
        "n    f(n)\n20   40",
        "| n | f(n) |\n|---|---|\n| 20 | 40 |",
        "| Input | Output |\n|:-----:|:------:|\n| `20` | `40` |",
        "Example: for radius = 20 the result should be 40.",
    ],
)
def test_a_value_for_the_only_parameter_needs_no_name(text):
    assert read(ONE, f"Double it.\n\n{text}\n") == [CallTest((20,), 40)]


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ('1 -> "1"\n2 -> "1 2"\n10 -> "ten"', [((1,), "1"), ((2,), "1 2"), ((10,), "ten")]),
        ('"a b" => "b a"\n"" => ""', [(("a b",), "b a"), (("",), "")]),
        ("[1, 2] -> [2, 1]", [(([1, 2],), [2, 1])]),
        ("['ab',\n 'cd']\n\nshould return:\n\"abcd\"", [((["ab", "cd"],), "abcd")]),
        ('"abc" should return "cba". "x" should return "x".', [(("abc",), "cba"), (("x",), "x")]),
        ('The string "abc" should return "cba".', [(("abc",), "cba")]),
        ('It is a drink: "1 cup" => "1 sip" or "2 cups" => "2 sips"', [(("1 cup",), "1 sip"), (("2 cups",), "2 sips")]),
        ("foo1 -> foo2\nfoo9 -> foo10", [(("foo1",), "foo2"), (("foo9",), "foo10")]),
        ("05:25 --> 06:35\n01:50 --> 10:10", [(("05:25",), "06:35"), (("01:50",), "10:10")]),
        ("Input: 1, 2, 3\nOutput: 3, 2, 1", [(([1, 2, 3],), [3, 2, 1])]),
        ("Input: [1,\n 2]\nOutput: [\n 2,\n 1]", [(([1, 2],), [2, 1])]),
    ],
)
def test_texts_lists_and_tables_of_a_function_of_one_argument(text, tests):
    assert read(ONE, text) == [CallTest(args, expected) for args, expected in tests]


def test_a_parameters_name_may_follow_its_value():
    text = "10 apples, 2 trees: [5, 5]\n3 apples and 2 trees -> [2, 1]\n3 pears, 2 trees: [9]\n"
    tests = [CallTest((10, 2), [5, 5]), CallTest((3, 2), [2, 1])]
    assert read("def f(apples, trees):", text) == tests


def test_of_a_wrong_result_and_the_right_one_the_right_one_is_read():
    assert read(ONE, "For n = 20 it returns 10 but should return 40.") == [CallTest((20,), 40)]
    assert read(ONE, "Input: n = 20\nOutput: 10, expected 40") == [CallTest((20,), 40)]
    assert read(ONE, "n = 20 -> 10, but it should fail") == []


def test_text_without_quotes_where_the_hints_say_that_it_is_text():
    assert read(TEXT, "Input: hello\nOutput: olleh") == [CallTest(("hello",), "olleh")]
    assert read(ONE, "Input: hello\nOutput: olleh") == []
    assert read("def f(word: str) -> int:", "Input: hello\nOutput: 5") == []


@pytest.mark.parametrize(
    "text",
    [
        "Input: an integer n\nOutput: an integer",
        "Input: 20\n\nThe rest is up to you.\n\n\n\n\n\n\nOutput: 40",
        "Input 1\n\n    [1]\n\nOutput 1\n\n    it depends",
        "20 -> 30 -> 40",
        "20 -> 4, 5, 6",
        "20 -> 2 * 20",
        "20 -> 14(2 x 7)",
        "If 2 * n = 20, the output should be 40.",
        "We know that 20 is 40 halved.",
        "1 + 19 = 20 -> 40",
        'every "0" becomes "1"',
        "It takes a 3x3 'square' and returns True if it is magic",
        "The function 'f' returns [] then",
        "the length is 0, so the value must be 0",
        "'-'\n\nOutput: 5",
        "n = 2 has no example.\n\nn = 3\nreturn it",
        "n    square root\n20   40",
        "20 -> 1,000",
        "For n = 20 the output should be 0.333...",
        '"a"->"b"\n"b"->"c"',
    ],
)
def test_what_only_looks_like_an_example_is_left_out(text):
    assert read(ONE, text) == []


def test_values_that_do_not_fit_the_hints_or_the_number_of_parameters_are_left_out():
    assert read(TWO, "Input: nums = [4,5]\nOutput: 1") == []
    assert read(TWO, 'Input: nums = ["4"], target = 9\nOutput: 1') == []
    assert read(TWO, "Input: nums = [4], target = 9\nOutput: [1]") == []
    assert read("def f():", "Input: 1\nOutput: 2") == []
