"""Independent rollouts of a tiny model, with made-up verdicts: an answer counts as correct if its first token is an even one."""

from __future__ import annotations

from pathlib import Path

from guided_gen.data_builder.build_settings import BuildSettings, statement_hash
from guided_gen.data_builder.problems.loaders import load_problems
from guided_gen.data_builder.problems.prompts import prompt_ids
from guided_gen.data_builder.tree_folder import TreeFolder
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.models.loading import load_model
from guided_gen.engine.search import Search, SearchSettings, run


def write_rollouts(folder: Path, model_folder: Path, problems_file: Path, samples: int, most: int) -> None:
    """Fill `folder` with a tree for each problem of the file: so many `samples` of at most `most` tokens."""
    loaded = load_model(str(model_folder), "float32")
    settings = BuildSettings(independent=samples, max_new_tokens=most)
    record = {"problems": problems_file.name, "split": None} | settings.record(loaded)
    with TreeFolder(folder, record) as written:
        for problem in load_problems(problems_file):
            ids = prompt_ids(loaded.tokenizer, problem)
            search = Search(
                loaded.language_model, Prompt(ids), SearchSettings(n=samples, max_new_tokens=most, stop_ids=loaded.stop_ids)
            )
            run(loaded.language_model, [search])
            tree = search.tree
            leaves = tree.rollouts.leaf.tolist()
            tree.verdicts = ["passed" if tree.tokens(leaf)[0] % 2 == 0 else "wrong_answer" for leaf in leaves]
            about = {"problem": problem.id, "statement_hash": statement_hash(problem), "status": "independent"}
            judged = {"tests": len(problem.tests), "tests_kind": "full", "isolation": "none", "tokens": {}}
            tree.metadata = about | judged | settings.record(loaded)
            written.add(tree)
