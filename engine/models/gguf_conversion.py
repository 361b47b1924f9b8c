"""GGUF to a transformers folder: float32 safetensors, configuration, tokenizer and chat template."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ..progress import Advance, stage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONVERTER_VERSION = 1
"""Part of every converted folder's name and identity: raise it when the same GGUF would give other weights or tokens."""

END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<|end|>", "<|eot_id|>", "<|end_of_text|>", "</s>")
"""What ends an answer in the families that we support. A GGUF names only one, but models emit the others too."""


def convert_gguf(gguf: Path, folder: Path, name: str) -> None:
    """Write the model in `gguf` to `folder`, dequantised to float32, as transformers loads it.

    Takes about a minute and 4 GB of memory for a 0.5B model: transformers reads the vocabulary of 150,000 tokens three times.
    """
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    label = name.rsplit("/", 1)[-1]
    options: dict[str, object] = {"gguf_file": gguf.name, "dtype": torch.float32}
    if hasattr(transformers, "GgufConfig"):  # versions that have it keep the weights quantised unless told otherwise
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    with stage(f"Converting {label}: reading weights", total=1.0) as advance, contextlib.redirect_stderr(_TqdmReader(advance)):
        model = AutoModelForCausalLM.from_pretrained(gguf.parent, **options)
    with stage(f"Converting {label}: reading the tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    with stage(f"Converting {label}: writing float32 weights"), contextlib.redirect_stderr(io.StringIO()):
        model.config.name_or_path = name
        for leftover in ("_model_name_or_path", "quantization_config"):
            if hasattr(model.config, leftover):
                delattr(model.config, leftover)
        model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
            bos_token_id=tokenizer.bos_token_id, eos_token_id=_end_token_ids(tokenizer), pad_token_id=tokenizer.pad_token_id
        )
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # safetensors writes them for the owner alone
        shutil.copymode(folder / "config.json", weights)


def _end_token_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The end-of-sequence token first, then every other control token that ends an answer."""
    others = [tokenizer.convert_tokens_to_ids(token) for token in END_TOKENS if token in tokenizer.all_special_tokens]
    return list(dict.fromkeys([tokenizer.eos_token_id, *others]))


class _TqdmReader(io.StringIO):
    """Takes the place of stderr and turns tqdm's `120/291 [` into our own progress."""

    def __init__(self, advance: Advance) -> None:
        super().__init__()
        self._advance = advance

    def write(self, text: str) -> int:
        match = re.search(r" (\d+)/(\d+) \[", text)
        if match:
            self._advance(int(match[1]) / int(match[2]))
        return len(text)
