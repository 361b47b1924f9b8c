"""APPS (Hendrycks et al. 2021): records of `codeparrot/apps` and the original folders become problems.

Both are brought into the hub's schema first (`solutions` and `input_output` are JSON strings); every oddity of the data is
one named rule below. Two limits of APPS stay, and belong beside any pass@k: many problems accept any valid answer while
the tests hold one, and many have few or weak tests (see `quality`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...engine.errors import DataError
from .problem import CallTest, Problem, StdinTest
from .records import Record, parse_json, text_field

TESTS_KINDS = ("full", "full-reconstructed", "example", "none")


def problem_from_record(record: Record, prefix: str, where: str) -> Problem:
    """One record in the schema of `codeparrot/apps` as a problem with id "<prefix>/<problem_id>".

    Raises `DataError`, naming `where`, for a record that breaks the schema.
    """
    starter_code = text_field(record, "starter_code", where, default="")
    entry_point, tests = _tests(record, starter_code, where)
    return Problem(
        id=f"{prefix}/{record_number(record, where)}",
        statement=text_field(record, "question", where),
        source=prefix,
        starter_code=starter_code,
        difficulty=text_field(record, "difficulty", where, default=""),
        entry_point=entry_point,
        tests=tests,
        tests_kind=tests_kind(record, has_tests=bool(tests), where=where),
        solutions=_solutions(record, where),
        verified=record.get("verified"),
    )


def record_number(record: Record, where: str) -> int:
    """The number of a problem within its split: `problem_id` on the hub's viewer, `id` in its JSON lines. Raises DataError."""
    number = record.get("problem_id", record.get("id"))
    if not isinstance(number, int):
        raise DataError(f"{where}: field 'problem_id' must be an integer, but is {number!r}.")
    return number


def tests_kind(record: Record, has_tests: bool, where: str) -> Any:
    """What the tests are worth: the record's own `tests_kind`; the hub has no such field, and its tests are the full ones.
    Raises DataError.
    """
    kind = record.get("tests_kind") or ("full" if has_tests else "none")
    if kind not in TESTS_KINDS:
        raise DataError(f"{where}: field 'tests_kind' must be one of {', '.join(TESTS_KINDS)}, but is {kind!r}.")
    return kind


def joined_lines(text: Any, where: str) -> str:
    """Some stdin problems give an input or output as a list of lines: join them with newlines. Raises DataError."""
    if isinstance(text, list) and all(isinstance(line, str) for line in text):
        return "\n".join(text)
    if not isinstance(text, str):
        raise DataError(f"{where}: a stdin test must be a string or a list of strings, but one is {type(text).__name__}.")
    return text


def unwrapped_outputs(outputs: list[Any], starter_code: str) -> list[Any]:
    """Codewars outputs are wrapped in a one-element list, all of a problem's or none: unwrap them.

    LeetCode's (`class Solution`) never are: there a one-element list is the answer.
    """
    wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
    return [output[0] for output in outputs] if wrapped and "class Solution" not in starter_code else outputs


def integer_keys(value: Any) -> Any:
    """JSON turned the integer keys of an argument into strings: turn them back where all keys of a dictionary are integers.

    As the reference harness does, for a whole argument only, not for dictionaries inside one. Expected outputs stay as they are:
    the judge accepts either kind of key.
    """
    if isinstance(value, dict) and value and all(re.fullmatch(r"-?\d{1,4300}", key) for key in value):
        return {int(key): item for key, item in value.items()}
    return value


def _tests(record: Record, starter_code: str, where: str) -> tuple[str | None, tuple[Any, ...]]:
    """(entry point or None, tests). A record without tests has an empty `input_output`, or empty lists in it."""
    text = text_field(record, "input_output", where, default="")
    content = parse_json(text, f"{where}, field 'input_output'") if text.strip() else {"inputs": [], "outputs": []}
    try:
        inputs, outputs = content["inputs"], content["outputs"]
        if not isinstance(inputs, list) or not isinstance(outputs, list):
            raise TypeError
        pairs = list(zip(inputs, unwrapped_outputs(outputs, starter_code), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: 'input_output' must hold two lists of one length, 'inputs' and 'outputs'.") from error
    entry_point = content.get("fn_name")
    if entry_point is None:
        return None, tuple(StdinTest(joined_lines(given, where), joined_lines(wanted, where)) for given, wanted in pairs)
    if not isinstance(entry_point, str) or not entry_point.isidentifier():
        raise DataError(f"{where}: 'fn_name' must be a name, but is {entry_point!r}.")
    if not all(isinstance(args, list) for args in inputs):
        raise DataError(f"{where}: the inputs of a call-based problem must be lists of arguments.")
    return entry_point, tuple(CallTest(tuple(map(integer_keys, args)), wanted) for args, wanted in pairs)


def _solutions(record: Record, where: str) -> tuple[str, ...]:
    """Reference solutions: a JSON string of a list, empty for most problems."""
    text = text_field(record, "solutions", where, default="")
    solutions = parse_json(text, f"{where}, field 'solutions'") if text.strip() else []
    if not isinstance(solutions, list) or not all(isinstance(solution, str) for solution in solutions):
        raise DataError(f"{where}: 'solutions' must hold a list of strings.")
    return tuple(solutions)


def is_problem_folder(path: Path) -> bool:
    """Whether `path` is one problem of the original layout."""
    return (path / "question.txt").is_file()


def read_problem_folders(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield ("<folder>", record in the hub's schema) for one folder of the original layout, or for all in `path`, by name.
    Raises DataError.
    """
    folders = [path] if is_problem_folder(path) else sorted(child for child in path.iterdir() if is_problem_folder(child))
    if not folders:
        raise DataError(f"{path} holds no APPS problems: neither question.txt nor folders that have one.")
    for folder in folders:
        if not folder.name.isdigit():
            raise DataError(f"{folder}: a folder of the APPS layout is named by its problem's number.")
        metadata = parse_json(_text(folder / "metadata.json") or "{}", str(folder / "metadata.json"))
        yield (
            str(folder),
            {
                "problem_id": int(folder.name),
                "question": _text(folder / "question.txt"),
                "solutions": _text(folder / "solutions.json"),
                "input_output": _text(folder / "input_output.json"),
                "difficulty": metadata.get("difficulty", ""),
                "starter_code": _text(folder / "starter_code.py"),
            },
        )


def _text(path: Path) -> str:
    """The file's text; empty where there is none, since only question.txt is always there."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""
