"""Examples of programs that read standard input: the blocks of text below "Input" and "Output".

Headings are known in the wordings of the contest sites, in several languages, with numbers, decoration and the "Copy" that stays
when a page is copied: `-----Sample Input-----`, `InputCopy`, `**Output #2**`, `入力例 1`, `Sample input: 1 2`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .problem import StdinTest

# English, Chinese, Japanese, Korean, then Spanish, Portuguese, French, German, Italian, Dutch, Russian and Ukrainian,
# Polish, Czech, Turkish, Swedish, Vietnamese and Indonesian.
SAMPLE_WORDS = (
    "samples?|examples?|例|样例|样本|示例|範例|예제"
    "|ejemplos?|exemplos?|exemples?|beispiele?|esempi?o?|voorbeeld|пример[ыа]?|приклади?"
    "|przykład(?:owe|y)?|příklady?|örnek(?:ler)?|exempel|ví dụ|contoh"
)
INPUT_WORDS = (
    "inputs?|standard input|stdin|input data|入力|输入|輸入|입력"
    "|entradas?|entrées?|eingaben?|ingresso|invoer|ввод|входные данные|вхідні дані"
    "|wejście|vstup|girdi|indata|đầu vào|masukan"
)
OUTPUT_WORDS = (
    "outputs?|standard output|stdout|output data|出力|输出|輸出|출력"
    "|salidas?|saídas?|sorties?|ausgaben?|uscita|uitvoer|вывод|выходные данные|вихідні дані"
    "|wyjście|výstup|çıktı|utdata|đầu ra|keluaran"
)
AFTERWORDS = (
    "explanations?|notes?|remarks?|constraints|hints?|limits?|scoring|subtasks?"
    "|备注|提示|解释|说明|数据范围|説明|解説|制約|노트|힌트|설명|제한|notas?|explicaci[oó]n|explicação|remarques?|explication"
    "|hinweise?|erklärung|примечани[ея]|пояснени[ея]|замечани[ея]|ограничения"
)
NUMBERED = r"[ \t]*(?:case|test)?s?[ \t]*[#№(]?[ \t]*\d*[ \t]*\)?[ \t]*[:.]?[ \t]*"
HEADING = re.compile(
    rf"(?:the[ ])?(?P<before>(?:{SAMPLE_WORDS}){NUMBERED})?(?:of |de |d['’]|da |for |の)?(?:the )?"
    rf"(?:(?P<input>{INPUT_WORDS})|(?P<output>{OUTPUT_WORDS}))(?P<after>[ \t]*(?:{SAMPLE_WORDS}))?"
    r"(?:[ \t]+for(?: the)? sample input)?[ \t]*[#№(]?[ \t]*\d*[ \t]*\)?(?:[ \t]*copy)?",
    re.IGNORECASE,
)
OF_WHAT = r"[ \t]*(?:tests?|cases?|test cases?|inputs? ?(?:and|/|&) ?outputs?)"
EXAMPLE_TITLE = re.compile(rf"(?:{SAMPLE_WORDS})(?:{OF_WHAT})?{NUMBERED}(?:copy|[-–][ \t].{{1,60}})?", re.IGNORECASE)
AFTERWORD = re.compile(
    rf"(?:{AFTERWORDS})(?:[ \t]+\d+|[ \t]+(?:of|for)\b.*)?(?:[ \t]*:.*)?"
    r"|(?:input|output) (?:format|description|specification)s?:?",
    re.IGNORECASE,
)
DECORATION = re.compile(r"^[\W_]+|[\W_]+$")
SECTION = re.compile(r"(-{3,}|={3,})[ \t]*([^-=\n].*?)[ \t]*\1[ \t]*(.*)")
TAG = re.compile(r"</?(?:h\d|p|b|strong|em|i|u|span|div|center|pre|br)(?:[ ][^<>]{0,200})?/?>", re.IGNORECASE)
FENCE = re.compile(r"(?:`{3,}|~{3,})[ \t]*[\w+.-]*|</?pre(?:[ ][^<>]{0,200})?>(?:</?code>)?|</code></pre>", re.IGNORECASE)
INLINE = re.compile(r"[ \t]*[:：][ \t]*(?=\S)")
# Words that sentences are made of; no output of a sample is, below an empty line.
SENTENCE_WORD = re.compile(
    r"\b(?:the|is|are|was|we|you|it|he|she|they|this|that|these|those|then|let|and|or|of|in|to|for|by|with|from|can|have|has|be|will"
    r"|so|if|as|at|on|not|no|there|all|each|every|since|because|thus|therefore|which|when|where|first|second|third|case|here|their"
    r"|our|your)\b",
    re.IGNORECASE,
)
FORMAT_WORD = re.compile(
    r"\b(?:integers?|numbers?|strings?|lines?|single|print|output|input|contains|containing|separated|space|sum|answer|values?|test"
    r"|cases|denoting|given|array|list|elements|length|size|name|format|following)\b",
    re.IGNORECASE,
)
JAPANESE = re.compile(r"[\u3040-\u30ff][^。]*。$")
PLACEHOLDER = re.compile(r"\b[A-Za-z]_\{?\w|(?<![\w.])[.…]{3}(?![\w.])|…")
LETTERS = re.compile(r"[ \t]*[A-Za-z](?:[ ,]+[A-Za-z])*[ \t]*")  # `N M`, whose values are the sample's


@dataclass(frozen=True)
class Line:
    """One line of a statement: its number from 1, its text, and what it is.

    `kind`: "input" and "output" head a block (`text` is what stands beside the heading), `sample` says that it is a sample's;
    "example" begins a section of examples, "end" ends a block, and anything else is "text".
    """

    number: int
    text: str
    kind: str = "text"
    sample: bool = False


@dataclass(frozen=True)
class Block:
    """What stands below an input's and the next output's heading, and the lines from the first of them on."""

    given: list[str]
    wanted: list[str]
    lines: tuple[int, int]


def stdin_forms(statement: str) -> Iterator[tuple[StdinTest, tuple[int, int]]]:
    """(test, lines) of the examples.

    Taken are the blocks in a section called Example or Examples; else those titled "Sample Input" or "Example Output" in words;
    else plain "Input" and "Output" titles, except where a block describes the format.
    """
    lines = list(classified(statement))
    for blocks in (_blocks(_example_sections(lines)), _blocks(lines, samples=True), filter(_is_no_description, _blocks(lines))):
        tests = [(StdinTest(_as_text(block.given), _as_text(block.wanted)), block.lines) for block in blocks if block.wanted]
        if tests:
            yield from tests
            return


def classified(statement: str) -> Iterator[Line]:
    """The lines of the statement; a heading with text behind it in two, of the same number."""
    for number, raw in enumerate(statement.split("\n"), start=1):
        text = raw.rstrip()
        if section := SECTION.fullmatch(text.strip()):
            yield _title(number, section[2]) or Line(number, "", "end")
            text = section[3]
            if not text:
                continue
        yield _title(number, text) or Line(number, text)


def _title(number: int, text: str) -> Line | None:
    if len(text) > 200:
        return None
    text = TAG.sub("", text)
    bare = DECORATION.sub("", text)
    found = HEADING.match(bare)
    if found:
        kind = "input" if found["input"] else "output"
        rest = bare[found.end() :]
        beside = INLINE.match(text, text.index(bare) + found.end()) if bare else None
        if not rest or rest == ")" or beside:
            return Line(number, text[beside.end() :] if beside else "", kind, bool(found["before"] or found["after"]))
    if EXAMPLE_TITLE.fullmatch(bare):
        return Line(number, "", "example")
    return Line(number, "", "end") if AFTERWORD.fullmatch(bare) else None


def _example_sections(lines: Iterable[Line]) -> list[Line]:
    """The lines of all sections of examples."""
    inside = False
    kept: list[Line] = []
    for line in lines:
        if line.kind in ("example", "end"):
            inside = line.kind == "example"
        if inside or (kept and kept[-1].kind != "end" and line.kind == "end"):
            kept.append(line)
    return kept


def _blocks(lines: Iterable[Line], samples: bool = False) -> Iterator[Block]:
    """Every input block that an output block follows. With `samples` only those whose headings say that they are samples."""
    given: list[Line] | None = None
    current: list[Line] = []
    for line in [*lines, Line(0, "", "end")]:
        if line.kind == "text" and current:
            current.append(line)
        if line.kind == "text":
            continue
        kind = current[0].kind if current else ""
        if kind == "output" and given:
            content = without_remark(_content(current))
            last = max((one.number for one in content), default=current[0].number)
            shown = _unmarked([_content(given), content])
            yield Block(shown[0], shown[1], (given[0].number, last))
        given = current if kind == "input" else None
        is_heading = line.kind in ("input", "output") and (line.sample or not samples)
        current = [line] if is_heading else []


def _content(block: Sequence[Line]) -> list[Line]:
    """The lines below (and beside) a block's heading, without blank ones around; of a fenced block what the fence holds."""
    lines = [line for line in block if line is not block[0] or line.text]
    while lines and lines[0].text.strip() in ("", "Copy"):  # the word is a button of contest sites
        del lines[0]
    if lines and FENCE.fullmatch(lines[0].text.strip()):
        closing = next((index for index, line in enumerate(lines[1:], 1) if FENCE.fullmatch(line.text.strip())), len(lines))
        lines = lines[1:closing]
    lines = [line for line in lines if not FENCE.fullmatch(line.text.strip())]
    while lines and not lines[-1].text.strip():
        del lines[-1]
    return lines


def without_remark(output: list[Line]) -> list[Line]:
    """AtCoder explains an example below its output, after a blank line or in Japanese: cut that off."""
    for index, line in enumerate(output):
        if index and JAPANESE.search(line.text):
            return output[:index]
        if not line.text.strip() and index + 1 < len(output) and reads_like_prose(output[index + 1].text):
            return output[:index]
    return output


def _unmarked(blocks: Sequence[Sequence[Line]]) -> list[list[str]]:
    """The text of blocks without what marks all of their lines: `$1$ $2$`, `` `1 2` ``, a quote's `> 1 2`, HTML's <pre>."""
    texts = [[re.sub(r"^\s*<(?:pre|code)>|</(?:pre|code)>\s*$", "", line.text) for line in lines] for lines in blocks]
    everything = [text.strip() for lines in texts for text in lines if text.strip()]
    for marked, mark in ((r"\$[^$]*\$(?:\s*\$[^$]*\$)*", r"\$"), (r"`[^`]*`", "`"), (r"> .+", "^ *> ")):
        if everything and all(re.fullmatch(marked, text) for text in everything):
            return [[re.sub(mark, "", text) for text in lines] for lines in texts]
    return texts


def _as_text(lines: list[str]) -> str:
    return "\n".join([*lines, ""])


def _is_no_description(block: Block) -> bool:
    lines = [*block.given, *block.wanted]
    return not any(map(reads_like_prose, lines)) and not _describes(lines) and not all(map(LETTERS.fullmatch, block.given))


def _describes(lines: list[str]) -> bool:
    """Whether a block names what is read and printed: "Two integers", "Their sum", `a_1 a_2 ... a_n`."""
    return any(FORMAT_WORD.search(line) or PLACEHOLDER.search(line) for line in lines)


def reads_like_prose(line: str) -> bool:
    """Whether a line is a sentence, by its end and its words, or holds a formula in LaTeX."""
    line = line.strip()
    if re.match(r"[-*•]\s+\S.*[^\W\d_]", line) or re.search(r"\s\S+[^\d\s]?\d*[.,]$|[^\W\d_]\w*\s*=", line):
        return True
    words = re.findall(r"[^\W\d_]{2,}|\b[aAI]\b", line)
    if re.search(r"\$[^$]+\$|\\[a-z]{2,}|。$|[\u3040-\u30ff\u4e00-\u9fff]{6}", line):
        return True
    if len(words) >= 2 and line.endswith((".", ":", "!", "?")) and line[0].isupper():
        return True
    if len(words) >= 4 and line.endswith((".", ":")):
        return True
    return len(words) >= 3 and SENTENCE_WORD.search(line) is not None
