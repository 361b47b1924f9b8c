"""The Ray example of docs/dataset.md, run as it stands but for the model, the problems and the folder."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from guided_gen.data_builder.dataset import read_trees
from guided_gen.data_builder.loaders import load_problems

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "dataset.md"
PROBLEMS = 6


@pytest.fixture
def model_folder(tmp_path):
    """A tiny random Qwen2 with a tokenizer of bytes, as transformers saves them."""
    folder = tmp_path / "model"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: i for i, symbol in enumerate([*alphabet, "<end>"])}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.chat_template = "{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {
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
    """Made-up problems in the schema of APPS."""
    path = tmp_path / "made-up.jsonl.gz"
    tests = json.dumps({"fn_name": "f", "inputs": [[0], [1], [2]], "outputs": [[1], [2], [3]]})
    records = [
        {"problem_id": i, "question": f"Add one. Variant {i}.", "input_output": tests, "difficulty": "introductory"}
        for i in range(PROBLEMS)
    ]
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    return path


@pytest.mark.ray
def test_the_documented_ray_example_builds_every_problem_once(tmp_path, model_folder, problem_file):
    ray = pytest.importorskip("ray")
    example = next(
        code for code in re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL) if "import ray" in code
    )
    changes = {
        'MODEL = "Qwen/Qwen2.5-Coder-0.5B-Instruct"': f"MODEL = {str(model_folder)!r}",
        'PROBLEMS, SPLIT = "apps", "train"': f"PROBLEMS, SPLIT = {str(problem_file)!r}, None",
        'OUT = "dataset"': f"OUT = {str(tmp_path / 'out')!r}",
        "SHARDS = 64": "SHARDS = 3",
        "BuildSettings()": "BuildSettings(max_new_tokens=8)",
    }
    for old, new in changes.items():
        assert example.count(old) == 1, old
        example = example.replace(old, new)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        exec(compile(example, str(DOCUMENTATION), "exec"), {"__name__": "example"})
    finally:
        ray.shutdown()
    ids = [tree.metadata["problem"] for tree in read_trees([tmp_path / "out"])]
    assert sorted(ids) == sorted(problem.id for problem in load_problems(problem_file))
    assert len(list((tmp_path / "out" / "trees").glob("*-of-3-*.parquet"))) == 3
