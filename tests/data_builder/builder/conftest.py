"""Two small generators without a download: one that writes simple Python from a made-up grammar, and a tiny random Qwen2."""

from __future__ import annotations

import copy
import gzip
import hashlib
import json
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer as ByteTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from guided_gen.data_builder.build_settings import BuildSettings
from guided_gen.data_builder.judge.verdict import Isolation, Verdict
from guided_gen.data_builder.problems.problem import CallTest, Problem
from guided_gen.engine.language_model import LanguageModel
from guided_gen.engine.models.files import ModelIdentity
from guided_gen.engine.models.loaded_model import LoadedModel
from guided_gen.engine.randomness import problem_key, uniforms
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.tree import ROOT, Tree

END, HEAD, CLOSE = 0, 1, 6
PIECES = ["", "```python\ndef f(x):\n", "    x = x + 1\n", "    x = x * 2\n", "    pass\n", "    return x\n", "```"]


class Tokenizer:
    """Prompts become bytes; generated ids are pieces of Python."""

    eos_token_id = END

    def apply_chat_template(self, messages, add_generation_prompt):
        return list("\n".join(message["content"] for message in messages).encode())

    def decode(self, ids, skip_special_tokens):
        return "".join(PIECES[i] if i < len(PIECES) else f"{i} " for i in np.asarray(ids).tolist())


@dataclass
class Session:
    tree: Tree
    seed: int


class ScriptedModel(LanguageModel):
    """Draws lines of Python at probabilities that depend on the prompt and the path alone."""

    vocabulary_size, max_length = len(PIECES), 100_000

    def open(self, prompt, sampling, seed, stop_ids=frozenset()):
        return Session(Tree.below(prompt.token_ids), seed)

    def advance(self, growths):
        return [self._draw(growth.session, growth.leaves.tolist(), growth.streams) for growth in growths]

    def _draw(self, session, leaves, streams):
        tree = session.tree
        positions = np.asarray([tree.depth_of(leaf) for leaf in leaves])
        draws = uniforms(session.seed, problem_key(tree.prompt_hash), streams, positions)
        children = []
        for leaf, draw in zip(leaves, draws.tolist(), strict=True):
            tokens, probabilities = self.distribution(tree, leaf)
            chosen = min(int(np.searchsorted(np.cumsum(probabilities), draw)), len(tokens) - 1)
            logprob = float(np.log(probabilities[chosen]))
            columns = {"logprob": logprob, "sample_logprob": logprob, "entropy": 1.0, "margin": 0.5, "certainty": 0.0}
            children.append(tree.add_node(leaf, tokens[chosen], **columns))
        return np.asarray(children)

    def distribution(self, tree, leaf):
        last = None if leaf == ROOT else int(tree.nodes.token_id[leaf])
        certain = {None: HEAD, 5: CLOSE, CLOSE: END}
        if last in certain:
            return [certain[last]], [1.0]
        # Some prompts favour the lines that are right, some hardly ever have them.
        skill = int(tree.prompt_hash[:2], 16) / 256
        weights = np.asarray([skill, 0.2 / tree.depth_of(leaf), 0.3, 0.2 + 0.1 * tree.depth_of(leaf)])
        return [2, 3, 4, 5], (weights / weights.sum()).tolist()


@dataclass
class ReadingJudge:
    """Runs the programs of `ScriptedModel` in its head: they are right if they add one."""

    isolation: Isolation = "none"
    seen: list[tuple[str, str]] = field(default_factory=list)

    def submit(self, problem, program):
        self.seen.append((problem.id, program))
        right = program.count("x + 1") == 1 and "* 2" not in program and "return" in program
        future: Future[Verdict] = Future()
        future.set_result(Verdict(problem.id, "passed" if right else "wrong_answer", (), None, self.isolation, 0.0))
        return future


class HashingJudge(ReadingJudge):
    """Calls every third program right, by a hash."""

    def submit(self, problem, program):
        future: Future[Verdict] = Future()
        right = hashlib.sha256(program.encode()).digest()[0] % 3 == 0
        future.set_result(Verdict(problem.id, "passed" if right else "wrong_answer", (), None, self.isolation, 0.0))
        return future


def loaded(model) -> LoadedModel:
    return LoadedModel(model, cast(Any, Tokenizer()), frozenset({END}), ModelIdentity("made-up", "0" * 64), "float32", Path())


@pytest.fixture
def scripted() -> LoadedModel:
    return loaded(ScriptedModel())


@pytest.fixture(scope="session")
def tiny_transformer() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )
    with torch.no_grad():
        model = Qwen2ForCausalLM(config).eval()
        model.lm_head.weight.mul_(20)  # as it is made all tokens are equally likely
    return model


@pytest.fixture(scope="session")
def tiny(tiny_transformer) -> LoadedModel:
    return loaded(TorchLanguageModel(copy.deepcopy(tiny_transformer)))


@pytest.fixture
def judge() -> ReadingJudge:
    return ReadingJudge()


@pytest.fixture
def hashing_judge() -> HashingJudge:
    return HashingJudge()


@pytest.fixture
def make_problems():
    """A function: so many problems that ask for x + 1 in different words, each with a number of its own."""

    def make(count: int, source: str = "made-up") -> list[Problem]:
        tests = tuple(CallTest((x,), x + 1) for x in (0, 3, 10))
        statements = [f"Write f({'very ' * i}x), which adds one." for i in range(count)]
        return [
            Problem(f"{source}/{i}", text, source, entry_point="f", tests=tests, difficulty=("easy", "hard")[i % 2])
            for i, text in enumerate(statements)
        ]

    return make


@pytest.fixture
def settings() -> BuildSettings:
    return BuildSettings(forks=3, branches=4, trunk_tries=4, tries_at_once=2, max_new_tokens=24)


@pytest.fixture
def pinned(scripted, settings):
    """What the settings.json of a folder of the scripted model's trees says."""
    return {"problems": "made-up", "split": None} | settings.record(scripted)


@pytest.fixture
def model_folder(tmp_path):
    """A tiny random Qwen2 with a tokenizer of bytes, as transformers saves them."""
    folder = tmp_path / "model"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = ByteTokenizer(models.BPE({symbol: i for i, symbol in enumerate([*alphabet, "<end>"])}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    Qwen2ForCausalLM(Qwen2Config(vocab_size=257, eos_token_id=256, max_position_embeddings=4096, **sizes)).save_pretrained(folder)
    return folder


@pytest.fixture
def problem_file(tmp_path):
    """Six made-up problems in the schema of APPS."""
    path = tmp_path / "made-up.jsonl.gz"
    tests = json.dumps({"fn_name": "f", "inputs": [[0], [1], [2]], "outputs": [[1], [2], [3]]})
    records = [
        {"problem_id": i, "question": f"Add one. Variant {i}.", "input_output": tests, "difficulty": "introductory"}
        for i in range(6)
    ]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return path
