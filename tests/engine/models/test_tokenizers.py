"""Tokenizers of GGUF files give transformers' ids; chat templates give its texts, or one sentence, soon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import gguf
import pytest
from transformers import AutoTokenizer

from guided_gen.engine.errors import ModelError
from guided_gen.engine.models.chat_template import ChatTemplate
from guided_gen.engine.models.tokenizer import Tokenizer
from guided_gen.engine.models.tokenizer_loading import end_ids, line_end_ids, load_tokenizer

from ..gguf_files import CHAT_TEMPLATE, END, START, byte_alphabet

pytestmark = pytest.mark.usefixtures("cache")
TEXTS = [
    "def f(x): return 'é' + x\n",
    "    indented\n\n\n\tby a tab  ",
    "x = 1234567 + 0x1F; it's we'll I'D",
    "<|im_start|>user\ndef<|im_end|>",
    "日本語 🙂 ﬁ é e\u0301 \u00a0 \u2028 \r\n",
    "",
    " ",
    "a" * 300,
]


def vocabulary(folder: Path, **entries: Any) -> Path:
    """A GGUF that holds a tokenizer only."""
    path = folder / "tokenizer.gguf"
    writer = gguf.GGUFWriter(path, entries.pop("family", "llama"))
    for name, value in entries.items():
        if isinstance(value, list):
            writer.add_array(f"tokenizer.ggml.{name}", value)
        elif isinstance(value, bool):
            writer.add_bool(f"tokenizer.ggml.{name}", value)
        elif isinstance(value, int):
            writer.add_uint32(f"tokenizer.ggml.{name}", value)
        else:
            writer.add_string(f"tokenizer.ggml.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def byte_level(folder: Path, pre: str, **entries: Any) -> Path:
    tokens = [*byte_alphabet(), "de", "def", "Ġx", "12", "123", "ĊĊ", "<|end|>", "<mine>"]
    merges = ["d e", "de f", "Ġ x", "1 2", "12 3", "Ċ Ċ"]
    kinds = [1] * (len(tokens) - 2) + [3, 4]
    special = {"eos_token_id": len(tokens) - 2, "bos_token_id": len(tokens) - 2, **entries}
    return vocabulary(folder, model="gpt2", pre=pre, tokens=tokens, token_type=kinds, merges=merges, **special)


def sentencepiece(folder: Path, **entries: Any) -> Path:
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    letters = sorted({*"▁defxaitswl'IDr=+;0123456789", "\n"})
    words = ["de", "def", "▁d", "▁de", "▁def", "▁x", "in", "▁▁"]
    tokens = [*pieces, *letters, *words, "<|user|>"]
    kinds = [2, 3, 3] + [6] * 256 + [1] * (len(letters) + len(words)) + [3]
    scores = [0.0] * len(pieces) + [-1000.0] * len(letters) + [-float(i) for i in range(len(words))] + [0.0]
    special = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0}
    return vocabulary(folder, model="llama", pre="default", tokens=tokens, scores=scores, token_type=kinds, **special, **entries)


def theirs(path: Path) -> Any:
    return AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)


def check(path: Path) -> None:
    own, expected = load_tokenizer(path), theirs(path)
    for text in [*TEXTS, "<mine> <|end|>x", "<|user|>def"]:
        for special in (True, False):
            ids = expected.encode(text, add_special_tokens=special)
            assert own.encode(text, add_special_tokens=special) == ids, text
            for skip in (True, False):
                assert own.decode(ids, skip_special_tokens=skip) == expected.decode(ids, skip_special_tokens=skip), text
    kept = load_tokenizer(path)  # from the cache
    assert kept.backend_tokenizer.to_str() == own.backend_tokenizer.to_str()
    assert (kept.special_tokens, kept.chat_template) == (own.special_tokens, own.chat_template)


@pytest.mark.parametrize("pre", ["qwen2", "deepseek-r1-qwen", "llama-bpe", "dbrx", "gpt-4o", "tekken", "gpt-2"])
def test_byte_level_ids_are_transformers_own(pre: str, tmp_path: Path) -> None:
    check(byte_level(tmp_path, pre, add_bos_token=pre == "llama-bpe"))


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_sentencepiece_ids_are_transformers_own(family: str, tmp_path: Path) -> None:
    check(sentencepiece(tmp_path, family=family))


def test_a_model_s_gguf_gives_chats_ends_and_line_ends(tiny_gguf: Path) -> None:
    tokenizer = load_tokenizer(tiny_gguf)
    assert tokenizer.encode("def") == [257]
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "d"}], add_generation_prompt=True)
    assert ids == [START, *tokenizer.encode("d"), END]
    assert (tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer)) == (END, 258, 288)
    assert end_ids(tiny_gguf, tokenizer) == {END, 258}
    assert line_end_ids(tokenizer) == set(tokenizer.encode("\n"))
    text = "x = 'é'"
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert offsets == theirs(tiny_gguf)(text, return_offsets_mapping=True)["offset_mapping"]


def test_what_is_kept_is_small_and_loads_in_transformers(tiny_gguf: Path, tmp_path: Path, cache: Path) -> None:
    load_tokenizer(tiny_gguf)
    [kept] = (cache / "tokenizers").iterdir()
    stock = AutoTokenizer.from_pretrained(kept)
    assert stock.encode(TEXTS[0]) == load_tokenizer(tiny_gguf).encode(TEXTS[0])
    assert (stock.eos_token_id, stock.chat_template) == (END, CHAT_TEMPLATE)


def test_a_kept_tokenizer_that_lost_bytes_is_made_again(tiny_gguf: Path, cache: Path) -> None:
    expected = load_tokenizer(tiny_gguf).encode(TEXTS[0])
    [kept] = (cache / "tokenizers").iterdir()
    (kept / "tokenizer.json").write_bytes((kept / "tokenizer.json").read_bytes()[:-100])
    assert load_tokenizer(tiny_gguf).encode(TEXTS[0]) == expected


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"pre": "spiral"}, "splits text by the rule 'spiral', which is not covered"),
        ({"model": "rwkv"}, "of the kind 'rwkv', which is not covered"),
        ({"tokens": ["a", "a"]}, "two tokens .* are equal"),
        ({"merges": ["a b c"]}, "no pair of tokens"),
        ({"merges": ["a q"]}, "cannot be used"),
        ({"eos_token_id": 99}, "sets tokenizer.ggml.eos_token_id to 99"),
    ],
)
def test_what_is_not_covered_is_one_sentence(entries: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    good: dict[str, Any] = {"model": "gpt2", "pre": "qwen2", "tokens": ["a", "b", "ab"], "merges": ["a b"], "eos_token_id": 1}
    with pytest.raises(ModelError, match=sentence) as caught:
        load_tokenizer(vocabulary(tmp_path, **{**good, **entries}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["qwen2", "starcoder2", "llama"])
def test_a_folder_without_a_tokenizer_is_one_sentence(family: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(f'{{"model_type": "{family}", "vocab_size": 300}}')
    with pytest.raises(ModelError, match=r"holds no tokenizer|the tokenizer in .* cannot be loaded") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x < 1 & 'y'"}]


def test_a_template_writes_what_transformers_writes(tiny_gguf: Path) -> None:
    source = (
        "{%- if messages[0]['role'] == 'system' %}{{ '<|sys|>' + messages[0]['content'] }}{% set messages = messages[1:] %}"
        "{%- endif %}\n{% for m in messages %}\n  {% if loop.index > 9 %}{% break %}{% endif %}\n{{ bos_token }}{{ m | tojson }}"
        "{% generation %}{{ m.content | trim }}{% endgeneration %}{{ '-' * 3 }}{{ unknown }}\n{% endfor %}"
        "{% if add_generation_prompt %}{{ eos_token }}{% endif %}{{ tools is none }}{{ strftime_now('%Y') | length }}"
        "{% set a, b = (1, 'é' ~ 2), [] %}{% set d = {'k': [a, b + [3]]} %}"
        "{% for k, v in d.items() %}{{ k ~ v ~ none }}{% endfor %}{{ messages | map(attribute='role') | join(', ') }}"
        "{{ '-'.join(['a', 'b']) }}{{ 'aXbX'.replace('X', 'y', 1) | replace('b', 'c') }}"
        "{{ messages | join('|', attribute='role') }}{{ 'x' in ['x'] }}{{ 'xy'[::-1] }}{{ () }}{{ (1,) + (2,) }}{{ 1 + 2.5 }}"
    )
    stock = theirs(tiny_gguf)
    stock.chat_template = source
    own = Tokenizer(load_tokenizer(tiny_gguf).backend_tokenizer, stock.special_tokens_map, source)
    for prompted in (True, False):
        expected = stock.apply_chat_template(MESSAGES, add_generation_prompt=prompted, tokenize=False)
        assert ChatTemplate(source, own.special_tokens).render(MESSAGES, prompted) == expected


DOUBLED = "{%% set n = namespace(x=%s) %%}{%% for i in range(60) %%}{%% set n.x = %s %%}{%% endfor %%}{{ n.x }}"
LONG = "{% set x = 'x' * 60000 %}"
BROKEN = {
    "a refusal": ("{{ raise_exception('roles must take turns') }}", "roles must take turns"),
    "syntax": ("{% if %}", "Expected an expression"),
    "an unknown name's part": ("{{ messages[0].content.foo.bar }}", "has no attribute 'foo'"),
    "a loop without end": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "longer than 5 seconds",
    ),
    "a recursion without end": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "a large text": ("{{ 'x' * 99999999999 }}", "of something large"),
    "a large number": ("{{ 9 ** 9 ** 9 ** 9 }}", "of something large"),
    "a text that doubles": (DOUBLED % ("'x'", "n.x + n.x"), "writes more than"),
    "a text that doubles by ~": (DOUBLED % ("'x'", "n.x ~ n.x"), "writes more than"),
    "a list that doubles": (DOUBLED % ("[1]", "n.x + n.x"), "a list of more than"),
    "a list of itself, twice": (DOUBLED % ("[1]", "[n.x, n.x]"), "a list of more than"),
    "a tuple of itself, twice": (DOUBLED % ("(1,)", "(n.x, n.x)"), "a list of more than"),
    "a dict of itself, twice": (DOUBLED % ("{}", "{1: n.x, 2: n.x}"), "a list of more than"),
    "a dict of itself, by its name": (DOUBLED % ("{}", "dict(a=n.x, b=n.x)"), "a list of more than"),
    "letters that become texts": (LONG + "{{ x | replace('x', x) }}", "replaces parts"),
    "letters that become texts, by the method": (LONG + "{{ x.replace('x', x) }}", "replaces parts"),
    "long joints": (LONG + "{{ range(99999) | join(x) }}", "joins texts"),
    "long joints, by the method": (LONG + "{{ x.join(range(99999) | map('string')) }}", "joins texts"),
    "much output": (LONG + "{% for i in range(99999) %}{{ x }}{% endfor %}", "writes more than"),
    "much output, kept": (LONG + "{% set y %}{% for i in range(99999) %}{{ x }}{% endfor %}{% endset %}", "writes more than"),
    "a filled list": ("{{ [1] | batch(999999999, 0) | list }}", "batch"),
    "a deep list": ("{{ " + "[" * 999 + "]" * 999 + " }}", "recursion"),
    "a padded text": ("{{ '%99999999999s' | format('x') }}", "format"),
    "a padded text, by its method": ("{{ 'x'.ljust(99999999999) }}", "unsafe"),
    "python's insides": ("{{ ''.__class__.__mro__ }}", "unsafe"),
    "a file": ("{% include 'x' %}", "loader"),
}


@pytest.mark.parametrize(("source", "sentence"), BROKEN.values(), ids=list(BROKEN))
def test_a_template_that_fails_is_one_sentence_within_seconds(source: str, sentence: str) -> None:
    start = time.monotonic()
    with pytest.raises(ModelError, match=sentence) as caught:
        ChatTemplate(source, {}).render(MESSAGES, True)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("this model's chat template fails: ")
    assert time.monotonic() - start < 60


def test_a_model_without_a_template_is_asked_in_plain_words(tiny_gguf: Path) -> None:
    bare = Tokenizer(load_tokenizer(tiny_gguf).backend_tokenizer, {}, None)
    text = bare.decode(bare.apply_chat_template(MESSAGES, add_generation_prompt=True))
    assert text == "### Instruction:\nBe brief.\n\nx < 1 & 'y'\n\n### Response:\n"
