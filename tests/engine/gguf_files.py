"""GGUF files of tiny models, written by the `gguf` package, with all that differs from transformers' own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from guided_gen.engine.models.tensors import gguf_name

CHAT_TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
END, START = 260, 259  # <|im_end|> and <|im_start|>


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + rank) for rank in range(len(others))]


def write_gguf(model: Any, path: Path, kind: str = "Q8_0", metadata: dict[str, Any] | None = None, **tensors: np.ndarray) -> None:
    """Write a transformers model of one of the covered families, its matrices as `kind`, with a byte-level vocabulary.

    `metadata`: further entries of the family. `tensors`: further tensors of F32, `rope_freqs=...` as `rope_freqs.weight`.
    """
    config = model.config
    family = config.model_type
    writer = gguf.GGUFWriter(path, family)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(int(head_dim * config.rope_parameters.get("partial_rotary_factor", 1.0)))
    for name, value in (metadata or {}).items():
        add: dict[type, Callable[[str, Any], None]]
        add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}
        add[type(value)](f"{family}.{name}", value)
    add_vocabulary(writer, config.vocab_size)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        array = _stored_order(tensor.float(), name, config, head_dim).numpy()
        of = gguf.GGMLQuantizationType[kind if array.ndim == 2 else "F32"]
        writer.add_tensor(gguf_name(name), gguf.quantize(array, of), raw_dtype=of)
    for name, extra in tensors.items():
        writer.add_tensor(f"{name}.weight", extra.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tiny_gguf(path: Path, context: int) -> Path:
    """A random Qwen2 of two layers, matrices in 8 bit, with an output matrix of its own and a byte-level vocabulary."""
    config = Qwen2Config(
        vocab_size=288,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    write_gguf(Qwen2ForCausalLM(config), path)
    return path


def _stored_order(tensor: torch.Tensor, name: str, config: Any, head_dim: int) -> torch.Tensor:
    """llama.cpp's converter puts the two halves of each of Llama's heads of queries and keys in turn."""
    if config.model_type != "llama" or name.split(".")[-2] not in ("q_proj", "k_proj"):
        return tensor
    return tensor.view(-1, 2, head_dim // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape).contiguous()


def add_vocabulary(writer: gguf.GGUFWriter, size: int) -> None:
    tokens = [*byte_alphabet(), "de", "def", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens += [f"[PAD{index}]" for index in range(len(tokens), size)]
    kinds = [gguf.TokenType.NORMAL] * 258 + [gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.UNUSED] * (size - 261)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["d e", "de f"])
    writer.add_eos_token_id(END)
    writer.add_bos_token_id(258)
    writer.add_pad_token_id(258)
    writer.add_chat_template(CHAT_TEMPLATE)
