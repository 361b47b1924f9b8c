"""Other programs that decode the same model: llama.cpp's batched decoding, vLLM's CPU build, and this project's int8 path before
it read GGUF (commit ae426af).

    .venv-peers/llama.cpp/bin/python benchmarks/studies/decoding_peers.py llama.cpp < task.json

Each runs in an environment of its own (`make bench-peers`), which does not hold this package: nothing but the standard library,
numpy and the peer is imported here. `decoding_contenders` writes the task and reads a line of output for each number of
candidates: seconds for the whole answer and for the tokens after the first, megabytes before and after decoding, and when the
first token of all was drawn. All warm up with two tokens first.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2


@dataclass(frozen=True)
class Task:
    """`model` is a GGUF file for llama.cpp, else a folder of float32; `prompt` holds token ids; end tokens are ignored."""

    model: str
    prompt: list[int]
    candidates: list[int]
    new_tokens: int
    temperature: float
    top_p: float


class LlamaCpp:
    """One batch a step with one token of each sequence; the prompt's cells are computed once and belong to all sequences.

    Otherwise its defaults: 16-bit cache, flash attention where it finds it useful. Sampling is `draw` below, which touches few
    tokens a candidate; llama.cpp's own sampler chain builds a structure for each of the 151,936.
    """

    def __init__(self, task: Task) -> None:
        import llama_cpp

        self.api: Any = llama_cpp
        self.task = task
        self.rng = np.random.default_rng(0)
        llama_cpp.llama_backend_init()
        print(llama_cpp.llama_print_system_info().decode(), file=sys.stderr)
        self.model = llama_cpp.llama_model_load_from_file(task.model.encode(), llama_cpp.llama_model_default_params())
        if self.model is None:
            raise SystemExit(f"llama.cpp cannot load {task.model}")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        parameters = llama_cpp.llama_context_default_params()
        most = max(task.candidates)
        parameters.n_ctx = len(task.prompt) + most * task.new_tokens
        parameters.n_batch = max(len(task.prompt), most)
        parameters.n_seq_max = most
        parameters.n_threads = parameters.n_threads_batch = THREADS
        parameters.kv_unified = True  # one buffer for all sequences: only there can they share cells
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        self.batch = llama_cpp.llama_batch_init(parameters.n_batch, 0, 1)

    def run(self, candidates: int, new_tokens: int) -> tuple[float, float]:
        prompt = np.array(self.task.prompt)
        memory = self.api.llama_get_memory(self.context)
        self.api.llama_memory_clear(memory, True)
        start = time.perf_counter()
        only_last = np.arange(len(prompt)) == len(prompt) - 1
        logits = self.decode(prompt, np.arange(len(prompt)), np.zeros(len(prompt), int), only_last)
        for sequence in range(1, candidates):
            self.api.llama_memory_seq_cp(memory, 0, sequence, -1, -1)
        tokens = self.draw(np.repeat(logits, candidates, axis=0))
        first = time.perf_counter()
        sequences, every = np.arange(candidates), np.ones(candidates, bool)
        for step in range(new_tokens - 1):
            tokens = self.draw(self.decode(tokens, np.full(candidates, len(prompt) + step), sequences, every))
        end = time.perf_counter()
        return end - start, end - first

    def decode(self, tokens: np.ndarray, positions: np.ndarray, sequences: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The logits [K, V] of the K wanted rows; the array is llama.cpp's own, overwritten by the next call."""
        n, batch = len(tokens), self.batch
        batch.n_tokens = n
        np.ctypeslib.as_array(batch.token, (n,))[:] = tokens
        np.ctypeslib.as_array(batch.pos, (n,))[:] = positions
        np.ctypeslib.as_array(batch.n_seq_id, (n,))[:] = 1
        np.ctypeslib.as_array(batch.logits, (n,))[:] = wanted
        for row, sequence in enumerate(sequences.tolist()):
            batch.seq_id[row][0] = sequence
        if self.api.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed: no room in the cache")
        logits = ctypes.cast(self.api.llama_get_logits(self.context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(logits, (int(wanted.sum()), self.vocabulary))

    def draw(self, logits: np.ndarray) -> np.ndarray:
        """Temperature, then top-p. Tokens e^10 times less likely than the best are left out, so that only a few are sorted."""
        tokens = np.empty(len(logits), np.int64)
        for row, scores in enumerate(logits):
            best = scores.max()
            kept = np.flatnonzero(scores > best - 10 * self.task.temperature)
            probability = np.exp((scores[kept] - best) / self.task.temperature)
            order = np.argsort(-probability)
            cumulative = np.cumsum(probability[order])
            nucleus = np.searchsorted(cumulative, self.task.top_p * cumulative[-1]) + 1
            drawn = np.searchsorted(cumulative[:nucleus], self.rng.random() * cumulative[nucleus - 1], side="right")
            tokens[row] = kept[order[min(drawn, nucleus - 1)]]
        return tokens


class Vllm:
    """vLLM's CPU build in this process: float32, eager, prefix caching on (emptied before each run, so that every run reads the
    prompt), one request with n samples. No seed a request: it ends the CPU build.
    """

    def __init__(self, task: Task) -> None:
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # else the memory would be another process's
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{THREADS - 1}")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        from vllm import LLM

        self.task = task
        self.llm: Any = LLM(
            model=task.model,
            dtype="float32",
            enforce_eager=True,
            enable_prefix_caching=True,
            max_model_len=2048,
            max_num_seqs=max(task.candidates),
            generation_config="vllm",
            seed=0,
        )

    def run(self, candidates: int, new_tokens: int) -> tuple[float, float]:
        total = self.seconds(candidates, new_tokens)
        return total, total - self.seconds(candidates, 1)

    def seconds(self, candidates: int, new_tokens: int) -> float:
        from vllm import SamplingParams

        sampling = SamplingParams(
            n=candidates,
            temperature=self.task.temperature,
            top_p=self.task.top_p,
            ignore_eos=True,
            max_tokens=new_tokens,
            min_tokens=new_tokens,
            detokenize=False,
        )
        self.llm.reset_prefix_cache()
        start = time.perf_counter()
        [request] = self.llm.generate([{"prompt_token_ids": self.task.prompt}], sampling, use_tqdm=False)
        seconds = time.perf_counter() - start
        lengths = [len(output.token_ids) for output in request.outputs]
        if lengths != [new_tokens] * candidates:
            raise SystemExit(f"vLLM returned answers of {lengths} tokens")
        return seconds


class Int8Before:
    """guided-gen as of commit ae426af: weights of 7 bits with a scale a row, made from a folder of float32."""

    def __init__(self, task: Task) -> None:
        from guided_gen.engine.loading import load_weights
        from guided_gen.engine.sampling import Sampling
        from guided_gen.engine.torch_model import TorchLanguageModel

        self.task, self.sampling = task, Sampling(temperature=task.temperature, top_p=task.top_p)
        self.model: Any = TorchLanguageModel(load_weights(Path(task.model), "int8", packed=True))

    def run(self, candidates: int, new_tokens: int) -> tuple[float, float]:
        from guided_gen.engine.language_model import Growth
        from guided_gen.engine.tree import ROOT

        start = time.perf_counter()
        session = self.model.open(self.task.prompt, self.sampling, seed=0)
        leaves = np.asarray([session.tree.add_node(ROOT, 1000 + i, logprob=0.0, sample_logprob=0.0) for i in range(candidates)])
        first = time.perf_counter()
        for _ in range(new_tokens - 1):
            [leaves] = self.model.advance([Growth(session, leaves, np.arange(candidates), 1)])
        end = time.perf_counter()
        self.model.close(session)
        return end - start, end - first


PEERS: dict[str, type[LlamaCpp] | type[Vllm] | type[Int8Before]] = {
    "llama.cpp": LlamaCpp,
    "vllm": Vllm,
    "int8-before": Int8Before,
}


def main() -> None:
    task = Task(**json.load(sys.stdin))
    peer = PEERS[sys.argv[1]](task)
    loaded = megabytes()
    first_token_at = 0.0
    for candidates in task.candidates:
        peer.run(candidates, 2)
        first_token_at = first_token_at or time.time()
        total, decode = peer.run(candidates, task.new_tokens)
        timing = {"total_seconds": total, "decode_seconds": decode, "loaded_mb": loaded, "peak_mb": megabytes()}
        print(json.dumps({"candidates": candidates, **timing, "first_token_at": first_token_at}), flush=True)


def megabytes() -> float:
    """The process's peak resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
