"""What the value model does not know: which problem a tree is of, the prompt that it grew below, and the program in an answer.

Here stored trees meet problems, prompts and the models that wrote and read them: `load_prompted_trees` for training,
`load_scored` for all that looks at values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .benchmarks.text_scorers import TEXT_SCORERS, judged_scores
from .data_builder.dataset import ProblemTexts, held_out, read_trees, selected, tree_row
from .data_builder.problems.extraction import extract_program
from .data_builder.problems.loaders import load_problems
from .data_builder.problems.problem import Problem
from .data_builder.problems.prompts import prompt_ids, template_named
from .data_builder.problems.syntax import parses
from .data_builder.tree_folder import read_settings, tree_files
from .engine.errors import DataError
from .engine.models.files import ModelIdentity, model_identity, resolve_model
from .engine.models.loading import chosen_precision, device_kind, load_model
from .engine.models.tokenizer_loading import end_ids, load_tokenizer
from .engine.scorers import P_TRUE
from .engine.tree import ROOT, Tree, load_trees, save_trees
from .search_page_data import NodeTexts
from .valuemodel.fitting import ScoredTrees, scored_trees
from .valuemodel.made_for import ValueModelMismatch, value_sha256
from .valuemodel.model import ValueModel
from .valuemodel.packing import PromptedTree
from .valuemodel.rollout_table import Answer, Ask, ReadAnswer
from .valuemodel.text_scorer import Translation, translated_tree


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
    """The trees of datasets, with their prompts' token ids, a folder's by problem; the folders may have been built with different
    settings.

    `tries`: also main rollouts that did not become the trunk, and the problems that have nothing else. `problems` are those
    that the trees were built from; by default they are loaded as the build did. With `text_base` the trees come in its tokens.
    Raises DataError for a folder without trees, DataError where problems are missing or have changed.
    """
    prompted: list[PromptedTree] = []
    for folder in folders:
        settings = read_settings(folder)
        texts = ProblemTexts(settings, problems, allow_untouched)
        template = template_named(settings["template"])
        before = len(prompted)
        for tree in sorted(read_trees([folder]), key=tree_problem):  # builds store them as they are done
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


def tree_problem(tree: Tree) -> str:
    """The id of the problem that a stored tree is of."""
    name: str = tree.metadata["problem"]
    return name


def base_folder(data: Sequence[Path], model: str | None) -> Path:
    """The folder of the base model: as named, else as the first dataset says."""
    return resolve_model(model or read_settings(data[0])["model"])


def problems_of(data: Sequence[Path], source: str | None, allow_untouched: bool = False) -> list[Problem] | None:
    """The problems of datasets, read from `source` instead of where their builds found them; None to leave it to the builds."""
    if source is None:
        return None
    splits = {read_settings(folder)["split"] for folder in data}
    return [problem for split in splits for problem in load_problems(source, split, allow_untouched=allow_untouched)]


@dataclass(frozen=True)
class ScoredData:
    """Datasets' trees with a value model's values, and the folders of the models that read them and wrote them."""

    scored: ScoredTrees
    base: Path
    generator: Path


def load_scored(
    value: Path,
    folders: Sequence[Path],
    *,
    model: str | None = None,
    generator: str | None = None,
    tries: bool = True,
    problems: Sequence[Problem] | None = None,
    allow_untouched: bool = False,
    cache: Path | None = None,
) -> ScoredData:
    """The trees of datasets, each node with its value. `model`: the value model's base, `generator`: what wrote the answers that
    a text scorer reads; by default as the value model and the data say. The rest as in `load_prompted_trees` and `scored_trees`.
    """
    made_for = ValueModel.made_for(value)
    as_text = bool(made_for.generator_sha256)
    base = base_folder(folders, model or (made_for.model if as_text else None))
    source = base_folder(folders, generator) if as_text else base
    trees = load_prompted_trees(
        folders,
        load_tokenizer(source),
        tries=tries,
        problems=problems,
        allow_untouched=allow_untouched,
        text_base=TextBase.of(base, source) if as_text else None,
    )
    return ScoredData(scored_trees(value, base, trees, cache), base, source)


def pool_trees(
    folders: Sequence[Path], value: Path | None, kept: Path, reader: str | None = None, **options: Any
) -> Iterator[Tree]:
    """All trees of pools: as stored, or with the values of a value model, which are computed once and kept in the folder `kept`,
    never written into the pool; with `reader` also what that model finds (stored_readings.py). `options` as in `load_scored`.
    Raises ValueModelMismatch for a value model that reads text.
    """
    if reader is not None:
        from .stored_readings import read_stored

        generator = base_folder(folders, options.get("model"))
        asked = {name: options[name] for name in ("problems", "allow_untouched") if name in options}
        read = load_prompted_trees(folders, load_tokenizer(generator), **asked)
        read_stored(read, generator, reader)
        columns = {(one.tree.prompt_hash, len(one.tree)): one.tree.nodes.reader_logprob for one in read}
        for tree in pool_trees(folders, value, kept, **options):
            tree.nodes.reader_logprob[:] = columns[tree.prompt_hash, len(tree)]
            yield tree
        return
    for folder in folders:
        if value is None:
            for path in tree_files(folder):
                yield from load_trees(path)
            continue
        stored = hashlib.sha256(b"".join(path.read_bytes() for path in tree_files(folder))).hexdigest()
        file = kept / f"{value_sha256(value)[:16]}-{stored[:16]}.parquet"
        if not file.exists():
            check_reads_states(value)
            save_trees([one.tree for one in load_scored(value, [folder], **options).scored.trees], file)
        yield from load_trees(file)


def check_reads_states(value: Path) -> None:
    """Raise ValueModelMismatch for a value model that reads the generator's text, not its states."""
    if ValueModel.made_for(value).generator_sha256:
        raise ValueModelMismatch("a value model that reads text values searches, not stored pools: use guided-gen bench run")


def split_by_problem(trees: Sequence[PromptedTree], share: float, seed: int) -> tuple[list[PromptedTree], list[PromptedTree]]:
    """(the others, `share` of the problems), by a hash of seed and problem. Raises DataError where either part is empty."""
    chosen = held_out([one.problem for one in trees], share, seed)
    parts = [one for one in trees if one.problem not in chosen], [one for one in trees if one.problem in chosen]
    if not parts[0] or not parts[1]:
        raise DataError(f"{len({one.problem for one in trees})} problems cannot be split with a share of {share:g}")
    return parts[0], parts[1]


def answer_reader(tokenizer: Any) -> ReadAnswer:
    """Reads answers with the generator's tokenizer."""
    unseen = {token for token in tokenizer.get_added_vocab().values() if not tokenizer.decode([token], skip_special_tokens=True)}

    def read(one: PromptedTree, leaf: int) -> Answer:
        ids = one.tree.tokens(leaf).tolist()
        texts = NodeTexts(tokenizer).extend(range(ROOT, len(ids) + ROOT), ids)
        pieces = tuple("" if token in unseen else text for token, text in zip(ids, texts, strict=True))
        text = "".join(pieces)
        program = extract_program(tokenizer.decode(ids, skip_special_tokens=True))
        return Answer(pieces, code_span(pieces, text, program), parses(program))

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


def asks_generator(
    generator: Path,
    precision: str,
    template_name: str,
    folders: Sequence[Path],
    problems: Sequence[Problem] | None = None,
    allow_untouched: bool = False,
) -> Ask:
    """Asks the model in `generator` about answers to the problems that the datasets in `folders` were built from.

    An answer without a program has 0. `problems` as in `load_prompted_trees`, which checks them.
    """
    loaded = load_model(str(generator), precision)
    template = template_named(template_name)
    if problems is None:
        built = {(settings["problems"], settings["split"]) for settings in map(read_settings, folders)}
        problems = [one for source, split in built for one in load_problems(source, split, allow_untouched=allow_untouched)]
    by_id = {problem.id: problem for problem in problems}

    def ask(one: PromptedTree, answers: Sequence[Answer]) -> list[float]:
        programs = ["".join(answer.pieces[slice(*answer.code)]) if answer.code else "" for answer in answers]
        said = judged_scores(
            loaded.language_model, loaded.tokenizer, TEXT_SCORERS[P_TRUE], by_id[one.problem], programs, template
        )
        return [0.0 if score is None else score for score in said]

    return ask
