"""Another tiny model beside `tiny_folder`, whose answers never end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import Qwen2ForCausalLM


@pytest.fixture(scope="session")
def endless_folder(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, but greedy answers never end: the end tokens' logits are always 0, and some other is above."""
    folder = tmp_path_factory.mktemp("endless-model")
    model = Qwen2ForCausalLM.from_pretrained(tiny_folder)
    with torch.no_grad():
        model.lm_head.weight[-3:] = 0
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((tiny_folder / name).read_bytes())
    return folder
