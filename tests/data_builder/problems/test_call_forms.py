"""Calls with their results are read in every notation that people use, and nothing that only looks like one."""

import pytest

from guided_gen.data_builder.problems.call_forms import call_forms
from guided_gen.data_builder.problems.examples import call_examples
from guided_gen.data_builder.problems.problem import CallTest

STARTER = "def add_up(n, items=()):\n"


def read(text: str, starter: str = STARTER, name: str = "add_up") -> list[CallTest]:
    return [test for example in call_examples(text, name, starter)[1] if isinstance(test := example.test, CallTest)]


@pytest.mark.parametrize(
    "text",
    [
        "add_up(3, [1]) == 7",
        "add_up(3, [1]) === 7",
        "add_up(3, [1]) = 7",
        "add_up(3, [1]) -> 7",
        "add_up(3, [1]) -->> 7",
        "add_up(3, [1]) ------> 7",
        "add_up(3, [1]) => 7",
        "add_up(3, [1]) ==> 7",
        "add_up(3, [1]) ➞ 7",
        "add_up(3, [1]) → 7",
        "add_up(3, [1]) : 7",
        "add_up(3, [1]) ~> 7",
        "add_up(3, [1])  # 7",
        "add_up(3, [1])  # => 7",
        "add_up(3, [1])  #=> 7",
        "add_up(3, [1])  # -> 7",
        "add_up(3, [1])  # returns 7",
        "add_up(3, [1])  # Returns: 7",
        "add_up(3, [1]); // 7",
        "add_up(3, [1]); // returns 7",
        "add_up(3, [1]); // => 7",
        "add_up(3, [1]); /* 7 */",
        "add_up(3, [1]); #should return 7",
        "add_up(3, [1]) -- returns 7",
        "add_up(3, [1]) returns 7",
        "add_up(3, [1]) Returns 7",
        "add_up(3, [1]) should return 7",
        "add_up(3, [1]) must return 7",
        "add_up(3, [1]) should equal 7",
        "add_up(3, [1]) should be 7",
        "add_up(3, [1]) is equal to 7",
        "add_up(3, [1]) evaluates to 7",
        "add_up(3, [1]) gives 7",
        "add_up(3, [1]) yields 7",
        "add_up(3, [1]) outputs 7",
        "add_up(3, [1]) is 7",
        "add_up(3, [1]) `shouldBe` 7",
        "add_up(3, [1]) ==> return 7",
        "add_up(3, [1]) ==> return (7)",
        "add_up(3, [1]) should return the number 7",
        "add_up(3, [1]) returns: 7",
        "`add_up(3, [1])` should return `7`.",
        "* `add_up(3, [1])` → `7`",
        "- add_up(3, [1]) == 7",
        "1. add_up(3, [1]) == 7",
        "> add_up(3, [1])\n7",
        "**add_up(3, [1])** returns **7**",
        "For example, add_up(3, [1]) = 7, because 3 and 4 are 7.",
        "E.g. add_up(3, [1]) == 7 (three and four)",
        "add_up(3, [1]) == 7; // a remark",
        "add_up(3, [1]) == 7    three and four",
        "add_up(3, [1]) -> 7 - as three and four",
        "add_up(3, [1]) -> 7 for the list of one",
        "(add_up(3, [1]) == 7)",
        "add_up (3, [1]) == 7",
        "Kata.add_up(3, [1]) == 7",
        "Solution().add_up(3, [1]) == 7",
        "Sums::add_up(3, [1]) == 7",
        "print(add_up(3, [1]))  # 7",
        "print(add_up(3, [1]))  # -> 7",
        "print(add_up(3, [1]))  # prints 7",
        "print add_up(3, [1]) # 7",
        "console.log(add_up(3, [1])); // 7",
        "console.log( add_up(3, [1]) ) // => 7",
        "System.out.println(add_up(3, [1])); // 7",
        "puts add_up(3, [1]) # => 7",
        "assert add_up(3, [1]) == 7",
        'assert add_up(3, [1]) == 7, "three and four"',
        "assert add_up(3, [1]) == 7, f'got {n}'",
        "assert (add_up(3, [1]) == 7)",
        "assert(add_up(3, [1]) == 7);",
        "assert_equal(add_up(3, [1]), 7)",
        "assert_eq!(add_up(3, [1]), 7);",
        "self.assertEqual(add_up(3, [1]), 7)",
        'self.assertEqual(add_up(3, [1]), 7, "message")',
        "self.assertEquals(7, add_up(3, [1]))",
        "Assert.AreEqual(7, add_up(3, [1]));",
        "Test.assert_equals(add_up(3, [1]), 7)",
        "Test.assertSimilar(add_up(3, [1]), 7);",
        "test.assert_equals(add_up(3, [1]), 7, 'message')",
        "assert.strictEqual(add_up(3, [1]), 7);",
        "expect(add_up(3, [1])).toBe(7)",
        "expect(add_up(3, [1])).toEqual(7);",
        "expect(add_up(3, [1])).to.equal(7)",
        "expect(add_up(3, [1])).to.be.equal(7)",
        "Assert.That(add_up(3, [1]), Is.EqualTo(7));",
        "assert.deepEqual(add_up(3, [1]), 7)",
        "add_up(3, [1])\n=> 7",
        "add_up(3, [1])\n-> 7",
        "add_up(3, [1])\n# => 7",
        "add_up(3, [1]);\n// returns 7",
        "add_up(3, [1])\n//>>>>> 7",
        "add_up(3, [1])\nreturns 7",
        "add_up(3, [1])\nreturn 7",
        "add_up(3, [1])\nshould return 7",
        "add_up(3, [1])\n\nShould return `7`",
        "add_up(3, [1])\nOutput: 7",
        "add_up(3, [1])\nResult: 7",
        "add_up(3, [1])\n7",
        "```python\nadd_up(3, [1])\n```\nshould return 7, since 3 and 4 are 7",
        "```\nadd_up(3, [1])\n```\nreturns\n```\n7\n```",
        "add_up(3, [1]) ==\n7",
        "add_up(3, [1]) returns:\n7",
        "add_up(\n  3,\n  [\n    1\n  ]\n) == 7",
        "add_up(n=3, items=[1]) == 7",
        "add_up(3, items=[1]) == 7",
        "add_up(items=[1], n=3) == 7",
        "add_up(n: 3, items: [1]) == 7",
        "items = [1]\nadd_up(3, items) == 7",
        "let n = 3, items = [1];\nadd_up(n, items); // 7",
        ">>> items = [1]\n>>> add_up(3, items)\n7",
        "addUp(3, [1]) == 7",
        "AddUp(3, [1]) => 7",
        "addup(3, [1]) == 7",
        "addUp(3, {1}) == 7",
        "addUp(3, new int[]{1}) == 7",
        "addUp 3 [1] -> 7",
        "(add-up 3 [1]) => 7",
        ">>> add_up(3, [1])\n7",
        ">>> add_up(3, [1]) == 7\nTrue",
        ">>> print(add_up(3, [1]))\n7",
        ">>>add_up(3, [1])\n7",
        ">>> add_up(3, [1]) 7",
        ">>> add_up(3, [1])  7 >>>",
        '    """ Adds up.\n    >>> add_up(3, [1])\n    7\n    """',
        "  >>> add_up(3, [1])\n 7\n",
        "| call | result |\n|---|---|\n| add_up(3, [1]) | 7 |",
        "<code>add_up(3, [1])</code> returns <code>7</code>",
        "<pre>add_up(3, [1]) == 7</pre>",
        "<li><b>add_up(3, [1])</b> = <b>7</b></li>",
        "add_up(3, [1]) =&gt; 7",
        "$add\\_up(3, [1]) = 7$",
        "\\texttt{add\\_up(3, [1])} \\rightarrow 7",
        "add_up(3, [1])\xa0==\xa07",
        "add_up(3, [1]) = 3 + 4 = 7",
        "add_up(3, [1]) -> (3 + 4) = 7",
    ],
)
def test_a_call_with_its_result_is_a_test(text):
    assert read(text) == [CallTest((3, [1]), 7)]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("nil", None),
        ("-1", -1),
        ("−1", -1),
        ("2.50", 2.5),
        ("1e3", 1000.0),
        ('"a, b"', "a, b"),
        ("'it\\'s'", "it's"),
        ("“quoted”", "quoted"),
        ("‘quoted’", "quoted"),
        ('"<b>kept</b>"', "<b>kept</b>"),
        ("'`kept`'", "`kept`"),
        ('"two\\nlines"', "two\nlines"),
        ("[1, [2, 3]]", [1, [2, 3]]),
        ("(1, 2)", (1, 2)),
        ("{1: 'a'}", {1: "a"}),
        ("{'a', 'b'}", {"a", "b"}),
        ("[\n  1,\n  2,\n]", [1, 2]),
        ("[1 2 3]", [1, 2, 3]),
        ('{"a" => 1}', {"a": 1}),
        ("{a: 1, b: [2]}", {"a": 1, "b": [2]}),
        ("[('a', 1), ('b', 2)]", [("a", 1), ("b", 2)]),
        ("True, as 3 is odd", True),
        ("true, 3 is odd", True),
    ],
)
def test_results_of_every_kind_are_read(result, expected):
    assert read(f"add_up(3) == {result}") == [CallTest((3,), expected)]


@pytest.mark.parametrize(
    "text",
    [
        "add_up(n) = add_up(n - 1) + 1",
        "add_up(x) == 4",
        "2 * add_up(3) = 6",
        "1 + add_up(3) == 6",
        "add_up(3) + 1 == 6",
        "g(add_up(3)) == 6",
        "str(add_up(3)) == '6'",
        "add_up(3) != 6",
        "add_up(3) < 6",
        "add_up(3) >= 6",
        "not add_up(3) == 6",
        "add_up(3) takes one argument",
        "add_up(3) # the third element",
        "add_up(3) = 2 of 3",
        "add_up(3) = 5 or 6",
        "add_up(3",
        "add_up(3) = 1,000",
        "add_up(3) = 1 000",
        "add_up(3) == 0.333...",
        "add_up(3) == 0.333…",
        "add_up(3) = 1/3",
        "add_up(3) ≈ 0.33",
        "add_up(3) returns 007",
        "add_up(3) -> [1, 2, ...]",
        "add_up(3) -> 1, 2, 3",
        "add_up(3) -> 10 -> 1",
        "add_up(3) == 1\nadd_up(3) == 2",
        ">>> add_up(3) == 1\nFalse",
        ">>> add_up(3) - 1\n4",
        ">>> add_up(3) [0]\n4",
        "add_up(3) == 1 // false",
        ">>> add_up(3)\n1\n2",
        "add_up(3):\n\n1\n2 2\n3 3 3",
        "add_up(3):\n1. Take three.",
        "assertNotEqual(add_up(3), 4)",
        "self.assertAlmostEqual(add_up(3), 4.33, 2)",
        "expect(add_up(3)).not.toBe(4)",
        "assert add_up(3)",
        "add_up(1, 2, 3) == 6",
        "add_up(size=2) == 6",
        "def add_up(3): 4",
        '"abc".add_up(3) == 4',
        "add_up(3) returns 4 instead of 6",
        "add_up(3) returns [1, 5] in any order",
        "add_up(3) returns 4, but should raise an error",
        "x = {'add_up(3) == 4'",
    ],
)
def test_what_is_not_an_example_is_left_out(text):
    assert read(text) == []


def test_braces_are_a_list_in_other_languages_and_a_set_in_python():
    assert read("addUp(2, {3, 4}) => {4, 3}") == [CallTest((2, [3, 4]), [4, 3])]
    assert read("add_up(2, {3, 4}) should return {4, 3}") == [CallTest((2, [3, 4]), [4, 3])]
    assert read("add_up(2, {3, 4}) == {4, 3}") == [CallTest((2, {3, 4}), {3, 4})]
    assert read("Return a set.\nadd_up(2, {3, 4}) -> {4, 3}") == [CallTest((2, {3, 4}), {3, 4})]
    assert read("add_up(2, {3, 3}) == {}") == [CallTest((2, [3, 3]), {})]
    hinted = "def add_up(n: int, items: List[int]) -> List[int]:"
    assert read("add_up(2, {3, 4}) => {4, 3}", hinted) == [CallTest((2, [3, 4]), [4, 3])]


@pytest.mark.parametrize(
    ("starter", "text", "tests"),
    [
        ("def f(n: int) -> bool:", "f(2) -> 1", []),
        ("def f(n: int) -> bool:", 'f("2") -> true', []),
        ("def f(n: float) -> 'List[int]':", "f(2) -> [1]", [CallTest((2,), [1])]),
        (
            "def f(n: Optional[str] = None) -> str | None:",
            'f() -> "a"\nf(nil) -> null',
            [CallTest((), "a"), CallTest((None,), None)],
        ),
        ("def f(d: Dict[str, int], *rest) -> int:", 'f({"a": 1}, 2, 3) -> 6', [CallTest(({"a": 1}, 2, 3), 6)]),
        ("def f(d: Dict[str, int]) -> int:", "f({1: 1}) -> 6", []),
        ("def f(t: Tuple[int, str]) -> set[int]:", 'f((1, "a")) -> {1, 2}', [CallTest(((1, "a"),), {1, 2})]),
        ("class Solution:\n    def f(self, root: TreeNode) -> int:", "f([1, null, 2]) -> 3", []),
        ("class Solution:\n    def f(self, nums: List[int]) -> None:", "f([1, 2]) -> [2, 1]", []),
        ("class Solution:\n    def f(self, nums, k):", "f([1, 2], 1) -> [2, 1]", [CallTest(([1, 2], 1), [2, 1])]),
    ],
)
def test_type_hints_exclude_what_was_read_wrong(starter, text, tests):
    assert read(text, starter, "f") == tests


def test_a_name_that_is_misspelt_throughout_is_read_and_a_helper_is_not():
    starter = "def count_vowels(text):"
    assert read('count_vowles("aab") == 2', starter, "count_vowels") == [CallTest(("aab",), 2)]
    assert read('is_vowel("a") == true', starter, "count_vowels") == []
    both = 'count_vowles("aab") == 3\ncount_vowels("ab") == 1'
    assert read(both, starter, "count_vowels") == [CallTest(("ab",), 1)]


@pytest.mark.parametrize(
    "text",
    [
        "add_up(3)  # returns 4, but it should return 6",
        "add_up(3) returns 4 but should return 6",
        "add_up(3) gives 4, expected 6",
        "`add_up(3)` is 4 and the right answer should be 6",
        "self.assertTrue(add_up(3) == 6)",
        "// add_up(3) -> 6",
        "Write a function add_up(n). add_up(3) == 6",
        "minimum(4) -> 1, add_up(3) -> 6",
        "add_up(3) ergibt 6",
        "In [1]: add_up(3)\nOut[1]: 6",
        ">>> add_up(\n...     3)\n6",
        "$add\\_up(3) = 3 \\times 2 = 6$",
    ],
)
def test_a_result_that_is_corrected_and_other_prompts(text):
    assert read(text) == [CallTest((3,), 6)]


@pytest.mark.parametrize("made", ["s = Stack()", ">>> s = Stack(3)", "Stack s = new Stack()"])
def test_what_a_method_of_an_object_with_a_state_gives_is_no_example(made):
    text = f"{made}\ns.push(1)\ns.push(2)\ns.pop()  # 2\ns.peek()  # 1\n"
    assert not list(call_forms(text, None, None)) and not list(call_forms(text, "pop", None))


def test_a_method_of_a_solution_has_no_state():
    [found] = call_forms("solution = Solution()\nsolution.twice(2)  # 4\n", "twice", None)
    assert (found.args, found.expected) == ((2,), 4)
