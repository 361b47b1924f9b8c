"""The Ray example of docs/dataset.md, run as it stands but for the model, the problems and the folder."""

import re
from pathlib import Path

import pytest

from guided_gen.data_builder.dataset import read_trees
from guided_gen.data_builder.problems.loaders import load_problems

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "dataset.md"


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
