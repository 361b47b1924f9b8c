"""A small search with a value tail on vLLM, against the torch backend; `make test-cuda`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed; make test-vllm sets up an environment that has it")

from guided_gen.engine import scorers
from guided_gen.engine.language_model import Prompt
from guided_gen.engine.policies import Beam
from guided_gen.engine.search import Search, SearchSettings, run
from guided_gen.engine.torch_backend.model import TorchLanguageModel
from guided_gen.engine.vllm_backend.loading import start
from guided_gen.engine.vllm_backend.settings import VllmSettings

from ..served_models import STOP, saved, served_model, value_tail

pytestmark = pytest.mark.cuda


def test_a_beam_search_by_value_is_the_torch_backend_s(tmp_path: Path) -> None:
    plain = served_model()
    served = start(saved(plain, tmp_path), "float32", value_tail(plain, 1, 2), VllmSettings(enforce_eager=True, max_num_seqs=32))
    embedded = TorchLanguageModel(served_model(), value_tail(plain, 1, 2))
    trees = []
    for model in (served, embedded):
        settings = SearchSettings(
            n=6, max_new_tokens=40, seed=5, stop_ids=STOP, scorer=scorers.value, policy=Beam(width=2), check_every=10
        )
        search = Search(model, Prompt([7 + i * i % 290 for i in range(100)]), settings)
        run(model, [search])
        trees.append(search.tree)
    served.end()
    assert trees[0].nodes.token_id.tolist() == trees[1].nodes.token_id.tolist()
    leaves = trees[1].rollouts.leaf
    np.testing.assert_allclose(trees[0].nodes.value[leaves], trees[1].nodes.value[leaves], atol=1e-3)
