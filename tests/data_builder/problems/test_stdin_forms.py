"""Input and output below headings of many kinds are read; descriptions of the format and remarks are not."""

import pytest

from guided_gen.data_builder.problems.examples import stdin_examples
from guided_gen.data_builder.problems.problem import StdinTest

THREE = [("4 5\n", "9\n")]

APPS_STYLE = """Add numbers.

-----Input-----
The first line contains n.

-----Output-----
Print the sum.

-----Examples-----
Input
2
1 2

Output
3

Input
0

Output
0

7

-----Note-----
Input
9
Output
9
"""


def read(statement: str) -> list[tuple[str, str]]:
    tests = [example.test for example in stdin_examples(statement)]
    assert all(isinstance(test, StdinTest) for test in tests)
    return [(test.stdin, test.expected) for test in tests]


def test_input_and_output_blocks_of_an_example_section():
    assert read(APPS_STYLE) == [("2\n1 2\n", "3\n"), ("0\n", "0\n\n7\n")]


def test_sections_without_their_dashes_are_read_the_same():
    assert read(APPS_STYLE.replace("-----", "")) == read(APPS_STYLE)
    assert read(APPS_STYLE.replace("-----", "").replace("Input\n", "InputCopy\n").replace("Output\n", "OutputCopy\n")) == read(
        APPS_STYLE
    )


def test_an_example_stands_in_the_lines_from_its_heading_to_its_last_line():
    lines = APPS_STYLE.split("\n")
    first, second = stdin_examples(APPS_STYLE)
    assert [lines[number - 1] for number in (*first.lines, *second.lines)] == ["Input", "3", "Input", "7"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("Input", "Output"),
        ("Input:", "Output:"),
        ("INPUT", "OUTPUT"),
        ("input", "output"),
        ("InputCopy", "OutputCopy"),
        ("inputCopy", "outputCopy"),
        ("**Input**", "**Output**"),
        ("### Input", "### Output"),
        ("__Input__:", "__Output__:"),
        ("Input #1", "Output #1"),
        ("Input 1", "Output 1"),
        ("-----Sample Input-----", "-----Sample Output-----"),
        ("-----Sample Input:-----", "-----Sample Output:-----"),
        ("=====Sample Input=====", "=====Sample Output====="),
        ("-----Example Input-----", "-----Example Output-----"),
        ("Sample Input 1", "Sample Output 1"),
        ("Sample Input 1Copy", "Sample Output 1Copy"),
        ("Sample Input 1 Copy", "Sample Output 1 Copy"),
        ("Sample 1 Input", "Sample 1 Output"),
        ("Sample Input (1)", "Sample Output (1)"),
        ("Sample #1 Input:", "Sample #1 Output:"),
        ("Input Sample", "Output Sample"),
        ("Sample Input", "Output for the Sample Input"),
        ("Sample Case 1 Input", "Sample Case 1 Output"),
        ("Example Input", "Example Output"),
        ("入力例 1", "出力例 1"),
        ("样例输入", "样例输出"),
        ("输入样例 1：", "输出样例 1："),
        ("예제 입력 1", "예제 출력 1"),
        ("Ejemplo de entrada", "Ejemplo de salida"),
        ("Exemplo de Entrada 1", "Exemplo de Saída 1"),
        ("Exemple d'entrée", "Exemple de sortie"),
        ("Beispiel Eingabe", "Beispiel Ausgabe"),
        ("-----Входные данные-----", "-----Выходные данные-----"),
        ("Пример ввод", "Пример вывод"),
    ],
)
def test_headings(given, wanted):
    assert read(f"Add two numbers.\n\n{given}\n4 5\n\n{wanted}\n9\n") == THREE


@pytest.mark.parametrize(
    "statement",
    [
        "Sample input: 4 5\nSample output: 9",
        "Input: 4 5\nOutput: 9",
        "-----Example-----\nInput:4 5\nOutput:9",
        "-----Example-----Input:\n4 5\nOutput:\n9\n",
        "Example:\nInput:\n4 5\nOutput:\n9\nExplanation: four and five",
        "## Input\nTwo integers.\n## Output\nTheir sum.\n\n### Sample Input 1\n```\n4 5\n```\n### Sample Output 1\n```\n9\n```\n",
        "Input\n\n```\n4 5\n```\n\nOutput\n\n```\n9\n```\nFour and five are nine",
        "Input\n~~~text\n4 5\n~~~\nOutput\n~~~text\n9\n~~~",
        "Input\n<pre>4 5</pre>\nOutput\n<pre>9</pre>",
        "Input\n> 4 5\n\nOutput\n> 9",
        "Input\n`4 5`\nOutput\n`9`",
        "-----Sample Input:-----\n$4 5$\n\n-----Sample Output:-----\n$9$",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\nWe have 4+5=9.",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\nThe sum of the two is printed here.",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\nLet a = 4 and b = 5, then it is their sum",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\n$a = 4$ and $b = 5$",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\n - a is 4\n - b is 5\nHence 9.",
        "-----Sample Input-----\n4 5\n\n-----Sample Output-----\n9\n\n4 + 5 < 10.",
        "Sample Input\n4 5\n\nSample Output\n9\n\nExplanation of the sample\n\n4 and 5",
        "Sample Input\n4 5\n\nSample Output\n9\n\nHint\n4 + 5",
        "入力例 1\n\n4 5\n\n出力例 1\n\n9\n\n4と5の和は9です。",
        "Input\nTwo numbers a and b.\n\nOutput\nThe sum.\n\nExamples\nInput\n4 5\nOutput\n9\n",
        "Input:\nFirst line has T\n\nOutput:\nFor each, print\n\nExample:\nInput:\n4 5\nOutput:\n9\n",
        "Input Format\nTwo numbers\nOutput Format\nOne number\nSample Input 0\n4 5\nSample Output 0\n9\nExplanation 0\nas 4 + 5",
        "Input\r\n4 5\r\n\r\nOutput\r\n9\r\n",
        "Przykład\n\nWejście\n4 5\n\nWyjście\n9\n",
        "Sample Input 1\nCopy\n4 5\n\nSample Output 1\nCopy\n9\n\nThe sum is 9.\n",
        "入力例1\n4 5\n出力例1\n9\n4と5の和は9です。\n",
        "Örnek Girdi\n4 5\nÖrnek Çıktı\n9\n",
        "<h3>Sample Input</h3>\n<pre>4 5\n</pre>\n<h3>Sample Output</h3>\n<pre>\n9\n</pre>\n",
        "-----Входные данные-----\nДва числа.\n\n-----Выходные данные-----\nСумма.\n\n-----Примеры-----\n"
        "Входные данные\n4 5\n\nВыходные данные\n9\n",
    ],
)
def test_other_shapes_of_examples(statement):
    assert read(f"Add two numbers.\n\n{statement}") == THREE


@pytest.mark.parametrize(
    "statement",
    [
        "Input\nThe first line contains two numbers.\n\nOutput\nPrint the sum of both.\n",
        "Input\nTwo integers\n\nOutput\nTheir sum\n",
        "Input\nTwo numbers a and b.\nOutput\nThe sum.\n",
        "-----Input-----\nTwo.\nOne line.\n\n-----Output-----\nOne line.\n",
        "Input: an integer n\nOutput: its square",
        "Input:\nn\na_1 a_2 ... a_n\nOutput:\nmax\n",
        "Input:\nN M\nOutput:\nresult\n",
        "Input\n4 5\n",
        "Output\n9\n",
        'Input: word = "abc"\nOutput: "cba"',
        "Input: nums = [4,5], target = 9\nOutput: [0,1]",
        "Example\nThere is none.",
    ],
)
def test_a_description_of_the_format_is_no_example(statement):
    assert read(statement) == []


def test_text_with_sentences_is_input_where_a_heading_says_that_it_is_a_sample():
    assert read("Sample Input\nIt was a dark night.\nSample Output\n5\n") == [("It was a dark night.\n", "5\n")]


def test_values_are_kept_as_they_are():
    statement = "Examples\nInput\n  *\n # 1\n\n$a$ b\nOutput\n  **\n<b>\n"
    assert read(statement) == [("  *\n # 1\n\n$a$ b\n", "  **\n<b>\n")]
