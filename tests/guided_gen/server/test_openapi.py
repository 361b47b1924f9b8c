"""Whatever the OpenAPI document allows, and what it does not: never an error of the server's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from guided_gen.server.limits import ServerLimits

from ..serving import Served, serving

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, of the extra dev")


@pytest.fixture(scope="module")
def api_schema(served: Served) -> Iterator[Any]:
    limits = ServerLimits(candidates=3, new_tokens=3, prompt_tokens=200, texts=3, body_bytes=20_000)
    with serving(served.generator, limits) as small:
        yield schemathesis.openapi.from_url(f"{small.url}/openapi.json")


@pytest.mark.parametrize("kind", ["positive", "negative"])
def test_no_request_is_too_much(api_schema: Any, kind: str) -> None:
    mode = schemathesis.GenerationMode(kind)
    tried = set()
    for found in api_schema.get_all_operations():
        operation = found.ok()
        if kind == "negative" and not operation.body:  # there is nothing to get wrong
            continue

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def answered(case: Any) -> None:
            response = case.call(timeout=300)
            assert response.status_code < 500, response.text
            tried.add(case.path)

        answered()
    assert tried >= {"/v1/chat/completions", "/v1/completions", "/v1/score", "/search"}
