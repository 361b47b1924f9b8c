"""What the value model does not know: which problem a tree is of, the prompt that it grew below, and the program in an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data_builder.dataset import ProblemTexts, held_out, read_trees, selected, tree_row
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import prompt_ids, template_named
from .data_builder.problems.syntax import parse
from .data_builder.tree_folder import read_settings
from .engine.models.files import ModelIdentity, model_identity
from .engine.models.loading import chosen_precision, device_kind
from .engine.models.tokenizer_loading import end_ids, load_tokenizer
from .engine.tree import Tree
from .valuemodel.packing import DataError, PromptedTree
from .valuemodel.rollout_table import Answer, ReadAnswer
from .valuemodel.translation import Translation, translated_tree


@dataclass(frozen=True)
class TextBase:
    """The base of a text scorer: not the model that wrote the answers."""

    tokenizer: Any
    translation: Translation
    identity: ModelIdentity
    precision: str

    @classmethod
    def of(cls, base: Path, generator: Path) -> TextBase:
        """The model in the folder `base` as a reader of what the one in `generator` writes."""
        tokenizer, other = load_tokenizer(base), load_tokenizer(generator)
        ends = end_ids(generator, other)
        return cls(
            tokenizer, Translation(other, ends, tokenizer), model_identity(base), chosen_precision("auto", device_kind(), base)
        )

    def translated(self, one: PromptedTree, ids: Sequence[int]) -> PromptedTree:
        """The same tree in the base's tokens, below `ids`; its metadata name the base, and the generator as such."""
        tree = translated_tree(one.tree, ids, self.translation)
        metadata = one.tree.metadata
        own = {"model": self.identity.name, "model_sha256": self.identity.sha256, "precision": self.precision}
        theirs = {"generator": metadata["model"], "generator_sha256": metadata["model_sha256"]}
        shared = {name: metadata[name] for name in ("problem", "template", "template_hash")}
        tree.metadata = shared | own | theirs
        return PromptedTree(tree, tuple(ids), one.problem)


def load_prompted_trees(
    folders: Sequence[Path],
    tokenizer: Any,
    *,
    tries: bool = True,
    problems: Sequence[Problem] | None = None,
    allow_untouched: bool = False,
    text_base: TextBase | None = None,
) -> list[PromptedTree]:
    """The trees of datasets, with their prompts' token ids; the folders may have been built with different settings.

    `tries`: also main rollouts that did not become the trunk, and the problems that have nothing else. `problems` are those
    that the trees were built from; by default they are loaded as the build did. With `text_base` the trees come in its tokens.
    Raises DataError for a folder without trees, DatasetError where problems are missing or have changed.
    """
    prompted: list[PromptedTree] = []
    for folder in folders:
        settings = read_settings(folder)
        texts = ProblemTexts(settings, problems, allow_untouched)
        template = template_named(settings["template"])
        before = len(prompted)
        for tree in read_trees([folder]):
            chosen = selected(tree, tries)
            if not chosen:
                continue
            problem = texts.problem(tree)
            kept = tree if tries else Tree.from_row(tree_row(tree, chosen))
            one = PromptedTree(kept, tuple(prompt_ids(tokenizer, problem, template)), problem.id)
            if text_base is not None:
                one = text_base.translated(one, prompt_ids(text_base.tokenizer, problem, template))
            prompted.append(one)
        if len(prompted) == before:
            raise DataError(f"{folder} has no trees")
    return prompted


def split_by_problem(trees: Sequence[PromptedTree], share: float, seed: int) -> tuple[list[PromptedTree], list[PromptedTree]]:
    """(the others, `share` of the problems), by a hash of seed and problem. Raises DataError where either part is empty."""
    chosen = held_out([one.problem for one in trees], share, seed)
    parts = [one for one in trees if one.problem not in chosen], [one for one in trees if one.problem in chosen]
    if not parts[0] or not parts[1]:
        raise DataError(f"{len({one.problem for one in trees})} problems cannot be split with a share of {share:g}")
    return parts[0], parts[1]


def answer_reader(tokenizer: Any) -> ReadAnswer:
    """Reads answers with the generator's tokenizer."""

    def read(one: PromptedTree, leaf: int) -> Answer:
        ids = one.tree.tokens(leaf).tolist()
        pieces = tuple(tokenizer.batch_decode([[token] for token in ids], skip_special_tokens=True))
        text = "".join(pieces)
        program = extract_program(tokenizer.decode(ids, skip_special_tokens=True))
        return Answer(pieces, code_span(pieces, text, program), bool(program.strip()) and _parses(program))

    return read


def code_span(pieces: Sequence[str], text: str, program: str) -> tuple[int, int] | None:
    """The first token of `program` in an answer and one past its last; None where the program is not in the text as it stands."""
    code = program.strip()
    start = text.rfind(code) if code else -1
    if start < 0:
        return None
    ends = []
    total = 0
    for piece in pieces:
        total += len(piece)
        ends.append(total)
    first = next(i for i, end in enumerate(ends) if end > start)
    last = next(i for i, end in enumerate(ends) if end >= start + len(code))
    return first, last + 1


def _parses(program: str) -> bool:
    try:
        parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
