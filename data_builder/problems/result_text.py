"""What stands between the values of an example and its result, the result, and its end.

A result is a literal that something follows which cannot go on with it: the end of the line, a full stop, a remark. After `4` in
`f(2) = 4 + x` and `f(1000) = 4,000` more of an expression does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .interface import Interface
from .literals import read_literal


@dataclass(frozen=True)
class Found:
    """An example in a text: the function's name, arguments and result, where it begins and ends.

    `certainty`: of two that contradict each other the higher one holds.
    """

    name: str
    args: tuple[Any, ...]
    expected: Any
    start: int
    end: int
    certainty: int


# What leads from a call to its result.
SYMBOL = r"(?:-+>+|=+>+|={1,3}(?![=>])|>{3,}|~>|[➞→⇒⟶⟹➔↦➜⇨]|:(?![:=]))"
COMMENT = r"(?:\#+|//+|--+(?!>)|/\*+)"
WORDS = (
    r"(?:(?:it|this|which|that)\s+)?(?:(?:should|must|shall|will|would)\s+)?(?:shouldBe|shouldEqual|(?:be\s+)?equals?(?:\s+to)?|is\s+equal\s+to"
    r"|evaluates?\s+to|(?:be\s+)?returned|return(?:s|ing)?|gives?|yields?|outputs?|produces?|prints?|becomes?|results?(?:\s+in)?"
    r"|ergibt|liefert|devuelve|retorna|renvoie|retourne|restituisce|zwraca|возвращает|вернёт|вернет|даёт|дает"
    r"|be|is|(?:the\s+)?(?:expected\s+)?(?:output|result|answer|value|expected)(?:\s+(?:should\s+be|is))?)\b"
    r"(?:\s+(?:the|an?)\s+(?:value|string|list|array|number|integer|tuple|empty\s+string))?"
)
FOLLOWED = re.compile(rf"[ \t;)]*(?:[,|\n]|$|{SYMBOL}|{COMMENT}|{WORDS})|\s*\)", re.IGNORECASE)
LEAD = re.compile(
    rf"(?P<symbol>[ \t]*{SYMBOL})?(?P<comment>[ \t]*{COMMENT})?(?P<second>[ \t]*{SYMBOL})?(?P<words>[ \t]*{WORDS})?"
    r"[ \t]*(?:[:=](?![:=]))?",
    re.IGNORECASE,
)
LINES = re.compile(r"[ \t]*(?:\n[ \t]*){1,3}")
# What may follow a result: nothing, or a remark; never more of an expression.
END = re.compile(
    r"[)\]}]*(?:[ \t]*(?:$|[.;,](?=\s*$)|[.;](?=\s)|,(?=\s*[A-Za-z]|[^\n]*\b[a-z]{2,}\s[a-z]{2,})|\#|//|--(?![->\d])|/\*|\*/|\|)"
    r"|[ \t]+(?:(?:because|since|as|and|for|if|when|where|but|so|which|while|not|with|in|by)\b|or\b(?=.*[-=]>)"
    r"|[-–—:=]\s+(?=[A-Za-z]{2})|[()}]|[A-Za-z_]\w*\()|[:)](?=\s)|[ \t]{2,}(?![-+*/%^<>=&~.]))",
    re.MULTILINE,
)
ANOTHER = re.compile(r",\s*[\d\"'\[({-]")
END_OF_ASSERT = re.compile(rf"\s*,\s*[\"'“f]|\s*\)|{END.pattern}", re.MULTILINE)
END_OF_LINE = re.compile(r"[ \t]*[.;]?[ \t]*(?:$|\#|//|\()", re.MULTILINE)
MORE_OUTPUT = re.compile(r"[^\n]*\n[ \t]*[\d\[({'\"-]")
DENIED = re.compile(r"[ \t]*(?:\#|//|[-=]>)?\s{0,4}false\b|,? instead of\b", re.IGNORECASE)
# What a faulty program gives, and then what it should: `f(2) returns 3 but should return 4`, `gives 3, expected 4`.
CORRECTED = re.compile(
    r"[ \t]*[,;.:(–—-]*[ \t]*(?:(?:but|while|and|where|although|though|yet|when)[ \t]+)?"
    r"(?:(?:it|this|that|we|i|the[ ](?:correct|right|expected)?[ ]?(?:answer|result|output|value|one))(?:'d)?[ \t]+)?"
    r"(?:(?:is|was|were)[ \t]+)?(?:should|must|ought to|supposed to|expect(?:s|ed|ing)?|want(?:s|ed)?)\b[ \t:]*"
    r"(?:(?:be|have been|return|give|print|output|is|get|equal|expected|to|a|the)\b[ \t:]*){0,3}",
    re.IGNORECASE,
)

# A result that is one of several.
ONE_OF = re.compile(r"[ \t]*[,(]?[ \t]*(?:in any order|in no particular order|or any\b|for example|for instance)", re.IGNORECASE)


def read_result(
    text: str, at: int, interface: Interface | None, braces: str = "set", whole: re.Pattern[str] = END
) -> tuple[Any, int] | None:
    """(value, index after it) of the literal at `at`, if it is `whole` there, and one that the function may return.

    Of what is said to be wrong, the value that is said to be right.
    """
    found = read_literal(text, at, braces)
    if found is None or not whole.match(text, found[1]) or (interface is not None and not interface.gives(found[0])):
        return None
    if whole is not END_OF_ASSERT and not isinstance(found[0], bool | None) and ANOTHER.match(text, found[1]):
        return None
    if ONE_OF.match(text, found[1]):
        return None
    corrected = CORRECTED.match(text, found[1])
    return read_result(text, corrected.end(), interface, braces, whole) if corrected else found


def result_below(text: str, at: int, interface: Interface | None, braces: str) -> tuple[Any, int] | None:
    """A result that fills the line at `at`, and does not go on in the next one."""
    found = read_result(text, at, interface, braces, END_OF_LINE)
    return found if found and not MORE_OUTPUT.match(text, found[1]) else None


def lead(text: str, at: int) -> int | None:
    """The index after what leads from a call to its result: symbols, a comment, words, on the same line or the next."""
    below = LINES.match(text, at)
    for start in (at, below.end() if below else None):
        found = LEAD.match(text, start) if start is not None else None
        if found and any(found.groups()):
            return found.end()
    return None
