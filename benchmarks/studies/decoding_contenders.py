"""One way of decoding, timed in a process of its own, so that its peak memory is its own too.

    python -m guided_gen.benchmarks.studies.decoding_contenders engine-int8 --candidates 36

prints a line of JSON for each number of candidates. All contenders read the same prompt and sample as many tokens with the same
settings; end tokens are ignored. `generate` is transformers' own, `repeated-cache` reads the prompt once and repeats its
`DynamicCache`, `engine-*` is ours; `llama.cpp`, `vllm` and `int8-before` run in the environments that `make bench-peers` makes,
by `decoding_peers.py`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ...engine.cpu import kernels
from ...engine.language_model import Growth, Prompt
from ...engine.models.files import resolve_model
from ...engine.models.known import DEFAULT_MODEL
from ...engine.models.loading import load_weights
from ...engine.models.tokenizer_loading import load_tokenizer
from ...engine.sampling import Sampling
from ...engine.torch_backend.model import TorchLanguageModel
from ...engine.tree import ROOT, Tree

PEERS_FOLDER = Path(__file__).parents[2] / ".venv-peers"
PEERS = ("llama.cpp", "vllm", "int8-before")
INSTRUCTIONS = {
    "avx2": kernels.AVX2,
    "avx-vnni": kernels.AVX_VNNI,
    "avx-512": kernels.AVX512,
    "neon": kernels.NEON,
    "neon-dot": kernels.NEON_DOT,
}
SAMPLING = Sampling(temperature=0.8, top_p=0.95)
FIRST_TOKEN = 1000  # of those that begin the candidates
# A text that the model goes on with sensibly; cut to the wished length.
PROMPT = "Write a Python function that returns the length of the longest run of equal numbers in a list. " * 20


@dataclass(frozen=True)
class Timing:
    """Seconds for the whole answer and for the tokens after the first; megabytes before decoding (model loaded) and at the
    peak; when the process drew its first token, by the clock (`time.time`).
    """

    contender: str
    candidates: int
    prompt_tokens: int
    new_tokens: int
    total_seconds: float
    decode_seconds: float
    loaded_mb: float
    peak_mb: float
    first_token_at: float

    @property
    def tokens_per_second(self) -> float:
        """Over all candidates, after the first token of each."""
        return self.candidates * self.new_tokens / self.decode_seconds


Runner = Callable[[list[int], int, int], tuple[float, float]]  # prompt, candidates, new tokens -> total, decoding seconds


def engine(path: Path, precision: str) -> Runner:
    model = TorchLanguageModel(load_weights(path, precision, packed=True))

    def run(prompt: list[int], candidates: int, new_tokens: int) -> tuple[float, float]:
        start = time.perf_counter()
        session = model.open(Prompt(prompt), SAMPLING, seed=0)
        leaves, streams = unlike_leaves(session.tree, candidates), np.arange(candidates)
        first = time.perf_counter()
        for _ in range(new_tokens - 1):
            [leaves] = model.advance([Growth(session, leaves, streams, 1)])
        end = time.perf_counter()
        model.close(session)
        return end - start, end - first

    return run


def unlike_leaves(tree: Tree, candidates: int) -> np.ndarray:
    """Leaves [candidates] below the root with a token of their own each: the tree shares equal beginnings, which no other
    contender does, and so none are equal.
    """
    return np.asarray([tree.add_node(ROOT, FIRST_TOKEN + i, logprob=0.0, sample_logprob=0.0) for i in range(candidates)])


def _transformers_model(path: Path) -> Any:
    import torch

    from ...engine.models.float_models import float_model

    return float_model(path, torch.float32)


def generate(path: Path) -> Runner:
    import torch

    model = _transformers_model(path)

    def timed(prompt: list[int], candidates: int, new_tokens: int) -> float:
        start = time.perf_counter()
        model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=True,
            temperature=SAMPLING.temperature,
            top_p=SAMPLING.top_p,
            top_k=0,
            repetition_penalty=1.0,
            num_return_sequences=candidates,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            pad_token_id=0,
        )
        return time.perf_counter() - start

    def run(prompt: list[int], candidates: int, new_tokens: int) -> tuple[float, float]:
        total = timed(prompt, candidates, new_tokens)
        return total, total - timed(prompt, candidates, 1)

    return run


def repeated_cache(path: Path) -> Runner:
    import torch
    from transformers import DynamicCache

    model = _transformers_model(path)

    @torch.inference_mode()
    def run(prompt: list[int], candidates: int, new_tokens: int) -> tuple[float, float]:
        start = time.perf_counter()
        cache = DynamicCache(config=model.config)
        logits = model(torch.tensor([prompt]), past_key_values=cache, logits_to_keep=1).logits[:, -1]
        cache.batch_repeat_interleave(candidates)
        tokens = draw(logits.expand(candidates, -1))
        first = time.perf_counter()
        for _ in range(new_tokens - 1):
            tokens = draw(model(tokens, past_key_values=cache).logits[:, -1])
        end = time.perf_counter()
        return end - start, end - first

    def draw(logits: torch.Tensor) -> torch.Tensor:
        probability, token = torch.softmax(logits / SAMPLING.temperature, dim=-1).topk(64, dim=-1)
        probability[probability.cumsum(-1) - probability >= SAMPLING.top_p] = 0
        return token.gather(1, torch.multinomial(probability, 1))

    return run


CONTENDERS: dict[str, Callable[[Path], Runner]] = {
    "engine-float32": lambda path: engine(path, "float32"),
    "engine-int8": lambda path: engine(path, "int8"),
    "generate": generate,
    "repeated-cache": repeated_cache,
}


def missing_peer(contender: str) -> str | None:
    """What this contender still needs, None when it can run."""
    if contender not in PEERS or _peer_python(contender).exists():
        return None
    return f"{contender} is not installed; run `make bench-peers`"


def _peer_python(contender: str) -> Path:
    return PEERS_FOLDER / contender / "bin" / "python"


def _time_peer(contender: str, model: str, prompt: list[int], candidates: Sequence[int], new_tokens: int) -> Iterator[Timing]:
    task = {
        "model": str(resolve_model(model) if contender == "llama.cpp" else PEERS_FOLDER / "models" / model),
        "prompt": prompt,
        "candidates": candidates,
        "new_tokens": new_tokens,
        "temperature": SAMPLING.temperature,
        "top_p": SAMPLING.top_p,
    }
    command = [str(_peer_python(contender)), str(Path(__file__).with_name("decoding_peers.py")), contender]
    run = subprocess.run(command, input=json.dumps(task), stdout=subprocess.PIPE, text=True, check=True)
    for line in run.stdout.splitlines()[-len(candidates) :]:
        yield Timing(contender=contender, prompt_tokens=len(prompt), new_tokens=new_tokens, **json.loads(line))


def _time_here(contender: str, model: str, prompt: list[int], candidates: Sequence[int], new_tokens: int) -> Iterator[Timing]:
    run = CONTENDERS[contender](resolve_model(model))
    loaded, first_token_at = _megabytes(), 0.0
    for count in candidates:
        run(prompt, count, 2)  # warm up: the first products of each shape pick their kernels
        first_token_at = first_token_at or time.time()
        total, decode = run(prompt, count, new_tokens)
        yield Timing(contender, count, len(prompt), new_tokens, total, decode, loaded, _megabytes(), first_token_at)


@click.command()
@click.argument("contender", type=click.Choice([*CONTENDERS, *PEERS]))
@click.option("--model", default=DEFAULT_MODEL, show_default=True)
@click.option("--candidates", default=(36,), show_default=True, multiple=True, help="May be given several times.")
@click.option("--prompt-tokens", default=300, show_default=True)
@click.option("--new-tokens", default=128, show_default=True)
@click.option(
    "--instructions", type=click.Choice(list(INSTRUCTIONS)), help="Of engine-int8's kernels.  [default: the machine's best]"
)
def main(
    contender: str, model: str, candidates: tuple[int, ...], prompt_tokens: int, new_tokens: int, instructions: str | None
) -> None:
    """Time one contender and print what `Timing` holds as JSON."""
    prompt = load_tokenizer(resolve_model(model))(PROMPT)["input_ids"][:prompt_tokens]
    if missing := missing_peer(contender):
        raise click.ClickException(missing)
    if instructions:
        kernels.use(INSTRUCTIONS[instructions])
    timed = _time_peer if contender in PEERS else _time_here
    for timing in timed(contender, model, prompt, candidates, new_tokens):
        click.echo(json.dumps(asdict(timing)))


def _megabytes() -> float:
    """The process's peak resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
