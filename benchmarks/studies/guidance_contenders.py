"""Ways to know the values of a search's candidates while they grow, as `benchmarks/speed/test_guidance_speed.py` compares them.

All ways search with the same generator, prompt, settings and seed, so the candidates are the same, token for token. The prompt is
a problem's, as the generator is asked. Value models are untrained, since what a value costs does not depend on what it says; only
policies are compared by one that was trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...data_builder.problems.problem import Problem
from ...data_builder.problems.prompts import DEFAULT_TEMPLATE, prompt_ids
from ...engine.cpu.packed_linear import pack_linears_
from ...engine.language_model import Growth, LanguageModel, Prompt, Session
from ...engine.models.float_models import model_config
from ...engine.models.loading import chosen_precision, device_kind, load_weights
from ...engine.models.tokenizer_loading import load_tokenizer
from ...engine.sampling import Sampling
from ...engine.search import Search, SearchSettings, run
from ...engine.tail import Tail
from ...engine.torch_backend.model import TorchLanguageModel
from ...engine.tree import Tree
from ...known_values import known_value
from ...valuemodel.base_layers import last_states
from ...valuemodel.heads import HeadSettings
from ...valuemodel.model import ValueModel
from ...valuemodel.text_scorer import TextScoredModel, Translation, ValueReader
from .decoding_contenders import PROMPT

EXAMPLES = Path(__file__).parents[2] / "examples"
SAMPLING = Sampling(temperature=0.8, top_p=0.95)


class ReencodingModel(LanguageModel):
    """`generator` with the values of a second model that at every check reads the prompt and each candidate's text from the
    beginning, as search-and-learn and other searches by text do: one batch, without a cache and without padding.
    """

    scores = True

    def __init__(self, generator: LanguageModel, second: Any, tokenizer: Any) -> None:
        self._generator, self._second, self._tokenizer = generator, second, tokenizer
        self._prompt: list[int] = []  # of the one search at a time
        self.vocabulary_size, self.max_length = generator.vocabulary_size, generator.max_length
        width = second.config.hidden_size
        self._head = torch.randn(width, generator=torch.Generator().manual_seed(0)) / width**0.5

    def open(self, prompt: Prompt, sampling: Sampling, seed: int, stop_ids: frozenset[int] = frozenset()) -> Session:
        self._prompt = list(prompt.token_ids)
        return self._generator.open(prompt, sampling, seed, stop_ids)

    def advance(self, growths: Sequence[Growth]) -> list[np.ndarray]:
        return self._generator.advance(growths)

    @torch.no_grad()
    def read(self, wanted: Sequence[tuple[Session, np.ndarray]]) -> None:
        for session, leaves in wanted:
            tree: Tree = session.tree
            new = np.unique(leaves[np.isnan(tree.nodes.value[leaves])])
            if not len(new):
                continue
            texts = self._tokenizer.batch_decode([tree.tokens(leaf).tolist() for leaf in new.tolist()])
            rows = [self._prompt + ids for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
            last = torch.stack([states[-1] for states in last_states(self._second, rows)]).float()
            tree.nodes.value[new] = torch.sigmoid(last @ self._head).numpy()

    def keep(self, session: Session, leaves: np.ndarray) -> None:
        self._generator.keep(session, leaves)

    def close(self, session: Session) -> None:
        self._generator.close(session)


@dataclass(frozen=True)
class Searched:
    """Seconds of a whole search, its prompt included; the tokens that it decoded; a hash of its candidates."""

    seconds: float
    tokens: int
    candidates: int


class Contenders:
    """The default model and every way to score what it writes, loaded when first used."""

    WAYS = ("re-encoding", "second model with a cache", "2 blocks", "probe", "unscored")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._precision = chosen_precision("auto", device_kind(), folder)
        self.tokenizer = load_tokenizer(folder)
        self._base = load_weights(folder, self._precision, packed=True)
        self.shipped = known_value(str(folder), self._precision)
        self._models: dict[str, Any] = {}

    def search(self, way: str, prompt_tokens: int, settings: SearchSettings) -> Searched:
        """Search once, untimed work (loading) done before. End tokens are ignored: every candidate is as long as it may be."""
        prompt = self.prompt(prompt_tokens)
        model = self.model(way)
        start = time.perf_counter()
        search = Search(model, Prompt(prompt, prompt), settings)
        run(model, [search])
        seconds = time.perf_counter() - start
        texts = tuple(tuple(search.tree.tokens(leaf).tolist()) for leaf in search.tree.rollouts.leaf.tolist())
        model.close(search.session)
        return Searched(seconds, search.decoded_tokens, hash(texts))

    def prompt(self, tokens: int) -> list[int]:
        """The prompt for a problem of the examples, its beginning cut off, or filled up before it, to so many tokens."""
        problem = Problem("examples/drought", (EXAMPLES / "drought.txt").read_text(), "examples")
        asked = prompt_ids(self.tokenizer, problem, DEFAULT_TEMPLATE)
        filling: list[int] = self.tokenizer(PROMPT * (1 + tokens // 300))["input_ids"]
        return (filling + asked)[-tokens:]

    def model(self, way: str) -> Any:
        if way not in self._models:
            made: dict[str, Callable[[], Any]] = {
                "unscored": lambda: TorchLanguageModel(self._base, None),
                "probe": lambda: TorchLanguageModel(self._base, untrained_tail(self._folder, 0)),
                "shipped probe": lambda: TorchLanguageModel(self._base, self._shipped_tail()),
                "2 blocks": lambda: TorchLanguageModel(self._base, untrained_tail(self._folder, 2)),
                "second model with a cache": lambda: TextScoredModel(
                    self.model("unscored"),
                    ValueReader(self._second(), untrained_tail(self._folder, 0)),
                    Translation(self.tokenizer, frozenset(), self.tokenizer),
                ),
                "re-encoding": lambda: ReencodingModel(self.model("unscored"), self._second(), self.tokenizer),
            }
            self._models[way] = made[way]()
        return self._models[way]

    def _shipped_tail(self) -> Tail:
        assert self.shipped is not None
        return _engine_tail(ValueModel.from_pretrained(self.shipped))

    def _second(self) -> Any:
        """A second model of the same size, weights of its own; a new one each time, for the engine changes how one attends."""
        return load_weights(self._folder, self._precision)


def settings(n: int, new_tokens: int, **changes: Any) -> SearchSettings:
    """A search of best-of-n with a check every 16 tokens."""
    return replace(SearchSettings(n=n, max_new_tokens=new_tokens, sampling=SAMPLING, check_every=16), **changes)


def untrained_tail(folder: Path, blocks: int) -> Tail:
    """A tail of so many blocks on top of the model in `folder`."""
    config = model_config(folder)
    head = HeadSettings(("last", "mean", "logprob"))
    return _engine_tail(ValueModel.from_base(folder, config.num_hidden_layers - blocks, head))


def _engine_tail(model: ValueModel) -> Tail:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tail = model.engine_tail(torch.bfloat16 if device == "cuda" else torch.float32, device)
    pack_linears_(tail.layers)
    return tail
