"""What a Prometheus server reads at /metrics."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..generator import GuidedGenerator
from .limits import AdmissionQueue

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self, generator: GuidedGenerator, admission: AdmissionQueue) -> None:
        self._registry = CollectorRegistry()
        model = generator.loaded.language_model
        self.requests = Counter("guided_gen_requests", "Requests answered.", ["path", "status"], registry=self._registry)
        self.seconds = Histogram(
            "guided_gen_request_seconds", "Time to the end of an answer.", registry=self._registry, buckets=SECONDS
        )
        self.prompt = Counter("guided_gen_prompt_tokens", "Tokens of prompts.", registry=self._registry)
        self.completion = Counter(
            "guided_gen_completion_tokens", "Tokens of answers that were returned.", registry=self._registry
        )
        self.searched = Counter("guided_gen_searched_tokens", "Tokens decoded, returned or not.", registry=self._registry)
        self.abandoned = Counter(
            "guided_gen_abandoned_searches", "Searches whose client went away or did not read.", registry=self._registry
        )
        readings = {
            "guided_gen_live_searches": ("Searches being decoded.", lambda: generator.scheduler.live),
            "guided_gen_admitted_searches": ("Searches that hold a place.", lambda: admission.running),
            "guided_gen_waiting_searches": ("Searches in the queue.", lambda: admission.waiting),
            "guided_gen_prefix_bytes": ("Memory of kept prompts.", lambda: model.statistics.prefix_bytes),
            "guided_gen_cached_tokens": ("Generated tokens in the KV cache.", lambda: model.statistics.cached_tokens),
        }
        for name, (text, read) in readings.items():
            Gauge(name, text, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class RequestMetrics:
    """ASGI middleware: counts answers by path and status. Paths that are no route are counted as one."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 499

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.observe(time.perf_counter() - begun)
