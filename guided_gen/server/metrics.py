"""What a Prometheus server reads at /metrics."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..generator import GuidedGenerator
from .limits import AdmissionQueue

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


class TimedRequest(Protocol):
    """Seconds; None of what did not happen."""

    path: str
    queued: float | None
    first: float | None

    @property
    def seconds(self) -> float: ...


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self, generator: GuidedGenerator, admission: AdmissionQueue) -> None:
        self._registry = CollectorRegistry()
        model = generator.loaded.language_model
        self.requests = Counter("guided_gen_requests", "Requests answered.", ["path", "status"], registry=self._registry)
        self._seconds, self._queue, self._first = (
            Histogram(f"guided_gen_{name}_seconds", text, ["path"], registry=self._registry, buckets=SECONDS)
            for name, text in (
                ("request", "Time to the end of an answer."),
                ("queue", "Time until a search has a place."),
                ("first_token", "Time from a request's arrival to its search's first token."),
            )
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

    def answered(self, request: TimedRequest, status: int) -> None:
        """Count a request whose answer has ended; 499: whose client went away."""
        self.requests.labels(request.path, status).inc()
        self._seconds.labels(request.path).observe(request.seconds)
        if request.queued is not None:
            self._queue.labels(request.path).observe(request.queued)
        if request.first is not None:
            self._first.labels(request.path).observe(request.first)

    def text(self) -> bytes:
        return generate_latest(self._registry)
