"""An exported value model is a stock classifier that gives the same numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from guided_gen.valuemodel.attach import export_classifier
from guided_gen.valuemodel.heads import HeadSettings
from guided_gen.valuemodel.made_for import ValueModelError
from guided_gen.valuemodel.model import ValueModel
from guided_gen.valuemodel.packing import PromptedTree

from .made_up import packed_values, trained

MakeTree = Callable[..., PromptedTree]


@pytest.mark.parametrize(("fork_layer", "tail_layers", "lora_rank"), [(2, 2, 0), (2, 2, 2), (4, 0, 0), (1, 2, 0), (0, 4, 0)])
def test_exported_scores_make_the_same_values(
    base: Any, make_tree: MakeTree, tmp_path: Path, fork_layer: int, tail_layers: int, lora_rank: int
) -> None:

    model = trained(
        ValueModel.from_base(base, fork_layer, HeadSettings(("last", "mean", "logprob")), tail_layers, lora_rank=lora_rank)
    )
    export_classifier(model, base, tmp_path)
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert type(classifier).__name__.endswith("ForSequenceClassification")
    formula = json.loads((tmp_path / "config.json").read_text())["guided_gen_value"]
    tree = make_tree(11, longest=15)
    expected = packed_values(model, base, tree.tree, tree.prompt_ids)
    for leaf in tree.tree.rollouts.leaf.tolist():
        tokens = tree.tree.tokens(leaf).tolist()
        labels = []
        for length in range(1, len(tokens) + 1):  # what the stock class gives is the numbers at the last token
            with torch.no_grad():
                labels.append(classifier(torch.tensor([[*tree.prompt_ids, *tokens[:length]]])).logits[0].numpy())
        assert classifier.config.num_labels == len(formula["terms"]) == 2
        terms = {"last": labels[-1][0], "mean": np.mean(labels, axis=0)[1]}
        logprob = tree.tree.logprob_sum_to(leaf) / tree.tree.depth_of(leaf)
        raw = sum(terms[name] for name in formula["terms"]) + formula["bias"] + formula["logprob_weight"] * logprob
        value = 1 / (1 + np.exp(-(formula["scale"] * raw + formula["shift"])))
        assert value == pytest.approx(expected[leaf], abs=1e-5)


def test_exporting_leaves_the_value_model_as_it_was(qwen: Any, make_tree: MakeTree, tmp_path: Path) -> None:
    model = trained(ValueModel.from_base(qwen, 2, lora_rank=2))
    tree = make_tree(12)
    before = packed_values(model, qwen, tree.tree, tree.prompt_ids)
    export_classifier(model, qwen, tmp_path)
    assert np.array_equal(before, packed_values(model, qwen, tree.tree, tree.prompt_ids))


def test_a_head_with_hidden_units_is_no_stock_classifier(qwen: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueModelError, match="hidden"):
        export_classifier(ValueModel.from_base(qwen, 2, HeadSettings(("last",), hidden=4)), qwen, tmp_path)
