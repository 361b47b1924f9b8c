"""The tokenizer in a GGUF file, as one of the `tokenizers` library.

A file names the vocabulary, the merges and the kind of tokenizer; how text is split before the merges are applied it only names
(`tokenizer.ggml.pre`), and the rules for each name are llama.cpp's. Names that are not known here are refused: split otherwise,
the same text would be other tokens, and the model would be worse without a word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tokenizers import AddedToken, Regex, decoders, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE

from ..errors import ModelError
from .gguf_file import GgufFile
from .tokenizer import Tokenizer

_CONTROL, _USER_DEFINED = 3, 4  # of a token's types
_SPECIAL_IDS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}

_QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _split(pattern: str) -> Any:
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _gpt2(digits: bool) -> Any:
    """GPT-2's own rule; `digits`: with every digit by itself."""
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words]) if digits else words


_SPLITS: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), lambda: _split(_QWEN2)),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "dbrx", "smaug-bpe", "falcon3", "pixtral"), lambda: _split(_LLAMA3)),
    "tekken": lambda: _split(_TEKKEN),
    "gpt-4o": lambda: _split(_GPT4O),
    **dict.fromkeys(("gpt-2", "gpt2", "phi-2"), lambda: _gpt2(digits=False)),
    **dict.fromkeys(("smollm", "starcoder", "refact"), lambda: _gpt2(digits=True)),
}
_WHOLE_WORDS = ("llama3", "llama-v3", "llama-bpe", "falcon3", "pixtral", "tekken")
"""Rules under which a word that is a token is this token, whatever the merges make of it."""


def tokenizer_of_gguf(file: GgufFile) -> Tokenizer:
    """Raises ModelError where the file holds none, or one that is not covered or does not fit together."""
    try:
        return _Vocabulary(file).tokenizer()
    except ModelError:
        raise
    except Exception as error:  # the library raises bare exceptions for merges and tokens that do not fit together
        raise ModelError(f"the tokenizer of {file.path} cannot be used: {error}") from error


class _Vocabulary:
    def __init__(self, file: GgufFile) -> None:
        self._file, self._path = file, file.path
        self._tokens: list[str] = file.items("tokenizer.ggml.tokens")
        if not all(isinstance(token, str) for token in self._tokens):
            raise ModelError(f"the tokens of {self._path} are no texts")
        table = file.tensors.get("token_embd.weight")
        if table is not None and len(self._tokens) > table.shape[0]:
            raise ModelError(f"{self._path} has {len(self._tokens):,} tokens, and embeddings for {table.shape[0]:,}")
        if len(set(self._tokens)) < len(self._tokens):
            raise ModelError(f"two tokens of {self._path} are equal")
        self._types: list[int] = file.items("tokenizer.ggml.token_type") if self._has("token_type") else []

    def tokenizer(self) -> Tokenizer:
        kind = self._entry("model")
        if kind == "gpt2":
            backend = self._byte_level()
        elif kind == "llama":
            backend = self._sentencepiece()
        else:
            raise ModelError(f"{self._path} has a tokenizer of the kind {kind!r}, which is not covered; gpt2 and llama are")
        self._add_tokens(backend)
        named = {name: self._token(entry) for name, entry in _SPECIAL_IDS.items()}
        special = {name: token for name, token in named.items() if token is not None}
        if self._entry("add_bos_token", kind == "llama") and "bos_token" in special:
            bos = special["bos_token"]
            backend.post_processor = processors.TemplateProcessing(
                single=[bos, "$A"], special_tokens=[(bos, backend.token_to_id(bos))]
            )
        template = self._file.metadata.get("tokenizer.chat_template")
        return Tokenizer(backend, special, template if isinstance(template, str) else None)

    def _byte_level(self) -> Backend:
        pre = self._entry("pre", "default")
        if pre not in _SPLITS:
            raise ModelError(f"{self._path} splits text by the rule {pre!r}, which is not covered; {', '.join(_SPLITS)} are")
        whole = pre in _WHOLE_WORDS
        backend = Backend(BPE(vocab=self._ids(), merges=self._merges(), fuse_unk=False, ignore_merges=whole))
        backend.pre_tokenizer = _SPLITS[pre]()
        backend.decoder = decoders.ByteLevel()
        return backend

    def _sentencepiece(self) -> Backend:
        merges = self._merges() if self._has("merges") else self._merges_of_scores()
        unknown = self._token("unknown_token_id")
        backend = Backend(BPE(vocab=self._ids(), merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
        prefixed = bool(self._entry("add_space_prefix", True))
        if self._file.metadata.get("general.architecture") == "phi3":
            marks = [normalizers.Prepend("▁")] if prefixed else []
            backend.normalizer = normalizers.Sequence([*marks, normalizers.Replace(" ", "▁")])
        else:
            scheme = "first" if prefixed else "never"
            backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=False)
        steps: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        if prefixed:
            steps.append(decoders.Strip(content=" ", left=1))
        backend.decoder = decoders.Sequence(steps)
        return backend

    def _add_tokens(self, backend: Backend) -> None:
        """Control tokens and those of the user are found whole in a text, before anything else is."""
        for kind in (_CONTROL, _USER_DEFINED):
            found = [token for token, of in zip(self._tokens, self._types, strict=False) if of == kind and token]
            special = kind == _CONTROL
            backend.add_tokens([AddedToken(token, normalized=False, special=special) for token in found])

    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self._tokens)}

    def _merges(self) -> list[tuple[str, str]]:
        pairs = [merge.split(" ") for merge in self._file.items("tokenizer.ggml.merges")]
        if any(len(pair) != 2 for pair in pairs):
            raise ModelError(f"a merge of {self._path} is no pair of tokens")
        return [(first, second) for first, second in pairs]

    def _merges_of_scores(self) -> list[tuple[str, str]]:
        """Sentencepiece joins the pair whose token has the best score: each way to part each token, in the order of scores."""
        scores, ids = self._file.items("tokenizer.ggml.scores"), self._ids()
        if len(scores) != len(self._tokens) or max(map(len, self._tokens)) > 1 << 10:
            raise ModelError(f"the scores of {self._path} do not fit its tokens")
        found = []
        for token, score in zip(self._tokens, scores, strict=True):
            parts = [(token[:i], token[i:]) for i in range(1, len(token))]
            known = sorted((ids[a], ids[b], a, b) for a, b in parts if a in ids and b in ids)
            found += [(score, len(a), len(b), a, b) for _, _, a, b in known]
        found.sort(key=lambda merge: merge[:3], reverse=True)
        return [(a, b) for *_, a, b in found]

    def _has(self, name: str) -> bool:
        return f"tokenizer.ggml.{name}" in self._file.metadata

    def _entry(self, name: str, default: Any = None) -> Any:
        return self._file.metadata.get(f"tokenizer.ggml.{name}", default)

    def _token(self, entry: str) -> str | None:
        i = self._entry(entry)
        if i is None:
            return None
        if not isinstance(i, int) or not 0 <= i < len(self._tokens):
            raise ModelError(f"{self._path} sets tokenizer.ggml.{entry} to {i!r}")
        return self._tokens[i]
