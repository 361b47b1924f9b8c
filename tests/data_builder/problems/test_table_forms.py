"""Tables are matched to the parameters by their heads; a row that does not say all of an example is left out."""

import pytest

from guided_gen.data_builder.problems.examples import call_examples
from guided_gen.data_builder.problems.problem import CallTest

PLURAL = "def plural(word, count):"
FEE = "def fee(grams, parcel):"
ROWS = [CallTest((20, False), 85), CallTest((501, True), 399)]
WORDS = [CallTest(("cat", 2), "cats"), CallTest(("mouse", 2), "mice")]


def read(starter: str, text: str) -> list[CallTest]:
    name = starter[4 : starter.index("(")]
    return [test for example in call_examples(text, name, starter)[1] if isinstance(test := example.test, CallTest)]


@pytest.mark.parametrize(
    "table",
    [
        "| grams | parcel | result |\n|-------|:------:|-------:|\n| 20 | False | 85 |\n| 501 | True | 399 |",
        "grams | parcel | result\n--- | --- | ---\n20 | False | 85\n501 | True | 399",
        "| `parcel` | `grams` | **fee** |\n|-|-|-|\n| `False` | `20` | `85` |\n| `True` | `501` | `399` |",
        "| # | grams | parcel | returns | why |\n|-|-|-|-|-|\n| 1 | 20 | False | 85 | a letter |\n| 2 | 501 | True | 399 | big |",
        "| grams | parcel | cents |\n|-|-|-|\n| 20 | False | 85 |\n| 501 | True | 399 |",
        "| grams | parcel | expected | actual |\n|-|-|-|-|\n| 20 | false | 85 | 0 |\n| 501 | true | 399 | 399 |",
        "| input | output |\n|-|-|\n| 20, False | 85 |\n| grams = 501, parcel = True | 399 |",
        "<table><tr><th>grams</th><th>parcel</th><th>result</th></tr>\n"
        "<tr><td>20</td><td>False</td><td>85</td></tr>\n<tr><td>501</td><td>True</td><td>399</td></tr>\n</table>",
        "grams\tparcel\tresult\n20\tFalse\t85\n501\tTrue\t399",
        "| grams | parcel | result |\n|-|-|-|\n| 20 | False | 85 |\n| any | True | -1 |\n| 501 | True | 399 |",
    ],
)
def test_the_rows_of_a_table_are_examples(table):
    assert read(FEE, table) == ROWS


def test_the_last_column_may_have_the_name_that_the_function_ends_with():
    table = "| celsius | fahrenheit |\n|-|-|\n| 0 | 32 |\n"
    assert read("def to_fahrenheit(celsius):", table) == [CallTest((0,), 32)]
    assert read("def convert(celsius):", table) == []


def test_a_column_of_words_is_text_and_one_with_other_cells_is_not():
    assert read(PLURAL, "| word | count | result |\n|-|-|-|\n| cat | 2 | cats |\n| mouse | 2 | mice |") == WORDS
    assert read(PLURAL, "| word | count | result |\n|-|-|-|\n| cat | 2 | 'cats' |\n| 'mouse' | 2 | 'mice' |") == WORDS[1:]
    assert read("def plural(word: str, count: int) -> int:", "| word | count | result |\n|-|-|-|\n| cat | 2 | cats |") == []


@pytest.mark.parametrize(
    "table",
    [
        "| grams | price |\n|-|-|\n| 20 | 85 |\n| 50 | 100 |",
        "| grams | parcel | result |\n|-|-|-|\n| up to 20 | False | 85 |",
        "| grams | parcel | result |\n|-|-|-|\n| any | False | 85 |",
        "| grams | parcel | result | output |\n|-|-|-|-|\n| 20 | False | 85 | 86 |",
        "| grams | parcel | result |\n\nThe price is lower.\n\n| 20 | False | 85 |",
        "| grams | parcel | result |\n|-|-|-|\n| 20 | False | 1,085 |\n| 20 | 85 |",
    ],
)
def test_other_tables_and_rows_are_left_out(table):
    assert read(FEE, table) == []
