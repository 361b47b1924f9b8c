"""One door to all problem sources: `load_problems("apps", split="train")`, `load_problems("mbpp")`, `load_problems("my.txt")`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...engine.errors import DataError, SettingsError
from . import apps, mbpp_and_humaneval
from .plain_text import read_problem
from .problem import Problem
from .records import Record, parse_json, read_json_lines

SPLITS = ("train", "validation", "untouched", "test")
BUILTIN = {"apps": "apps", "mbpp": "mbpp.jsonl.gz", "humaneval": "humaneval.jsonl.gz"}
# Current `datasets` runs no loading scripts, so APPS is read from its JSON lines.
HUB = {
    "apps-train": {"path": "json", "data_files": "hf://datasets/codeparrot/apps/train.jsonl", "split": "train"},
    "apps-test": {"path": "json", "data_files": "hf://datasets/codeparrot/apps/test.jsonl", "split": "train"},
    "mbpp": {"path": "google-research-datasets/mbpp", "name": "full", "split": "train+test+validation+prompt"},
    "humaneval": {"path": "openai/openai_humaneval", "split": "test"},
}
# Problem numbers of the train part of APPS, with near-duplicates on one side: the lists of the data folder's apps/splits.json.
SHIPPED_SPLITS = Path(__file__).with_name("apps_splits.json")


def load_problems(source: str | Path, split: str | None = None, *, allow_untouched: bool = False) -> list[Problem]:
    """All problems of `source`, in the order of its file.

    source: "apps", "mbpp" or "humaneval", read from the data folder (`data_folder()`) or, where it has no such file, from the
    Hugging Face hub; or a path: JSON lines in one of their schemas (gzipped or not), a folder with such files, APPS in its
    original layout (one problem, a folder of them, or one with train/ and test/), or a text file with one statement.

    split: for APPS one of train, validation, untouched (parts of its train file, after splits.json) and test; for MBPP its
    official train, validation and test, or None for all. "untouched" is for final reports and needs `allow_untouched`.

    Raises `SettingsError`, and `DataError` for a missing or malformed file.
    """
    if split is not None and split not in SPLITS:
        raise SettingsError(f"There is no split '{split}': choose one of {', '.join(SPLITS)}.")
    if split == "untouched" and not allow_untouched:
        raise SettingsError("The split 'untouched' is kept for final reports: reading it must be allowed explicitly.")
    if source in BUILTIN:
        path = data_folder() / BUILTIN[str(source)]
        return _load_named(str(source), path, split)
    path = Path(source)
    if not path.exists():
        raise DataError(f"No problems found: {path} does not exist, and is none of {', '.join(BUILTIN)}.")
    return _load_path(path, split)


def is_local(source: str | Path) -> bool:
    """Whether `load_problems` finds `source` on this machine, and would not ask the hub for it."""
    return (data_folder() / BUILTIN[str(source)] if source in BUILTIN else Path(source)).exists()


def data_folder() -> Path:
    """$GUIDED_GEN_DATA, by default ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("GUIDED_GEN_DATA") or default)


def split_numbers(path: Path, split: str) -> set[int]:
    """The problem numbers of a part of APPS train: from the splits.json beside its file at `path`, else from the shipped copy."""
    beside = path.with_name("splits.json")
    lists = parse_json((beside if beside.is_file() else SHIPPED_SPLITS).read_text(encoding="utf-8"), str(beside))
    return set(lists[split])


def _load_named(name: str, path: Path, split: str | None) -> list[Problem]:
    if path.exists():
        return _load_path(path, split)
    if name == "apps":
        part = _apps_part(split, name)
        return _select(_from_hub(part), split, path / "train.jsonl.gz")
    return _select(_from_hub(name), split, path)


def _load_path(path: Path, split: str | None) -> list[Problem]:
    if path.is_dir() and not apps.is_problem_folder(path):
        path = _inside(path, split)
    if path.is_dir():
        prefix = _prefix(path.parent if apps.is_problem_folder(path) else path)
        problems = [apps.problem_from_record(record, prefix, where) for where, record in apps.read_problem_folders(path)]
    elif ".jsonl" in path.suffixes or ".json" in path.suffixes:
        problems = [problem_from_record(record, _prefix(path), where) for where, record in read_json_lines(path)]
    else:
        problems = [read_problem(path)]
    if not problems:
        raise DataError(f"{path} holds no problems.")
    return _select(problems, split, path)


def problem_from_record(record: Record, prefix: str, where: str) -> Problem:
    """A record in the schema of APPS, MBPP or HumanEval, told apart by their fields. `prefix` is the source of an APPS record.
    Raises DataError.
    """
    if "question" in record:
        return apps.problem_from_record(record, prefix, where)
    if "test_list" in record:
        return mbpp_and_humaneval.mbpp_problem(record, where)
    if "canonical_solution" in record:
        return mbpp_and_humaneval.humaneval_problem(record, where)
    raise DataError(
        f"{where}: a record of no known schema; APPS has 'question', MBPP 'test_list', HumanEval 'canonical_solution'."
    )


def _inside(folder: Path, split: str | None) -> Path:
    """The file or folder for `split` in a folder that holds both parts of APPS; the folder itself if it holds problems."""
    if not any((folder / name).exists() for part in ("train", "test") for name in _part_names(part)):
        return folder
    part = _apps_part(split, str(folder)).removeprefix("apps-")
    for name in _part_names(part):
        if (folder / name).exists():
            return folder / name
    raise DataError(f"{folder} has no part '{part}' of APPS: looked for {', '.join(_part_names(part))}.")


def _part_names(part: str) -> tuple[str, ...]:
    return f"{part}.jsonl.gz", f"{part}.jsonl", part


def _apps_part(split: str | None, source: str) -> str:
    if split is None:
        raise SettingsError(f"APPS ({source}) needs a split: one of {', '.join(SPLITS)}.")
    return "apps-test" if split == "test" else "apps-train"


def _prefix(path: Path) -> str:
    """The source in the ids of APPS records: apps-train or apps-test after the file's name, else the name itself."""
    stem = path.name.split(".")[0]
    return f"apps-{stem}" if stem in ("train", "test") else stem


def _from_hub(name: str) -> Iterator[Problem]:
    from datasets import load_dataset

    where = f"{name} on the Hugging Face hub"
    try:
        rows: Iterable[dict[str, Any]] = load_dataset(**HUB[name])
    except Exception as error:  # whatever datasets, fsspec and the network raise
        raise DataError(f"{where} cannot be read, and {data_folder()} has no copy: {error}") from error
    for number, row in enumerate(rows):
        yield problem_from_record(dict(row), name, f"{where}, record {number}")


def _select(problems: Iterable[Problem], split: str | None, path: Path) -> list[Problem]:
    """The problems of `split`; all of one source."""
    problems = list(problems)
    source = problems[0].source
    if source == "apps-train":
        if split in (None, "test"):
            raise SettingsError(f"{path} is the train part of APPS and needs a split: one of train, validation, untouched.")
        numbers = split_numbers(path, str(split))
        return [problem for problem in problems if int(problem.id.rpartition("/")[2]) in numbers]
    if source == "mbpp" and split in mbpp_and_humaneval.MBPP_SPLITS:
        return [problem for problem in problems if mbpp_and_humaneval.in_mbpp_split(problem, str(split))]
    if split is None or (split == "test" and source in ("apps-test", "humaneval")):
        return problems
    raise SettingsError(f"{path} ({source}) has no split '{split}'.")
