"""The real openai client against the server, over loopback: what its users rely on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest

from guided_gen.generator import GuidedGenerator

from ..serving import LIMITS, Served, eventually, serving, until

QUESTION: list[Any] = [{"role": "system", "content": "Answer."}, {"role": "user", "content": "What is 2 + 2?"}]
CHAT: dict[str, Any] = {"model": "guided-gen", "messages": QUESTION, "max_tokens": 24, "seed": 7}
ENDLESS: dict[str, Any] = {"model": "guided-gen", "messages": QUESTION, "max_tokens": 2900, "temperature": 0}


def test_a_chat_is_answered_with_the_best_of_the_search(client: openai.OpenAI, served: Served) -> None:
    answer = client.chat.completions.create(**CHAT, extra_body={"guided": {"n": 6}})
    assert answer.object == "chat.completion" and answer.model == served.generator.loaded.identity.name
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    found = served.generator.solve(QUESTION, n=6, max_new_tokens=24, seed=7)
    assert choice.message.content == found.best.text
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens == found.prompt_tokens
    assert usage.completion_tokens == len(found.best.token_ids)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.searched_tokens == found.decoded_tokens  # type: ignore[attr-defined]


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**CHAT)
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage and not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


def test_one_candidate_streams_as_it_is_written(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**CHAT, stream=True, extra_body={"guided": {"n": 1}}))
    assert sum(bool(chunk.choices[0].delta.content) for chunk in chunks) > 5


def test_n_answers_are_the_best_of_the_search_in_their_order(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(**CHAT, n=3, extra_body={"guided": {"n": 8}})
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    complete = [choice.guided["ended"] == "eos" for choice in answer.choices]  # type: ignore[attr-defined]
    assert complete == sorted(complete, reverse=True)
    streamed: dict[int, str] = {}
    for chunk in client.chat.completions.create(**CHAT, n=3, stream=True, extra_body={"guided": {"n": 8}}):
        for choice in chunk.choices:
            streamed[choice.index] = streamed.get(choice.index, "") + (choice.delta.content or "")
    assert streamed == {choice.index: choice.message.content for choice in answer.choices}


def test_the_seed_decides(client: openai.OpenAI) -> None:
    texts = [client.chat.completions.create(**CHAT | {"seed": seed}).choices[0].message.content for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    unseeded = {client.chat.completions.create(**CHAT | {"seed": None}).choices[0].message.content for _ in range(3)}
    assert len(unseeded) > 1


def test_stop_strings_end_an_answer_before_them(client: openai.OpenAI) -> None:
    text = client.chat.completions.create(**CHAT, extra_body={"guided": {"n": 1}}).choices[0].message.content
    assert text is not None
    stop = next(text[i : i + 2] for i in range(3, len(text)) if text[i : i + 2].isascii())
    for streamed in (False, True):
        answer: Any = client.chat.completions.create(
            **CHAT, stop=["never there", stop], stream=streamed, extra_body={"guided": {"n": 1}}
        )
        if streamed:
            chunks = list(answer)
            found = "".join(chunk.choices[0].delta.content or "" for chunk in chunks), chunks[-1].choices[0].finish_reason
        else:
            found = answer.choices[0].message.content, answer.choices[0].finish_reason
        assert found == (text[: text.index(stop)], "stop")


def test_log_probabilities_are_those_of_the_tokens(client: openai.OpenAI, served: Served) -> None:
    answer = client.chat.completions.create(**CHAT, logprobs=True)
    content = answer.choices[0].logprobs
    assert content is not None and content.content is not None
    found = served.generator.solve(QUESTION, n=2, max_new_tokens=24, seed=7).best
    assert [token.logprob for token in content.content] == pytest.approx(found.logprobs.tolist(), abs=1e-4)


def test_a_conversation_goes_on_and_only_what_is_new_is_read(
    client: openai.OpenAI, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = client.chat.completions.create(**CHAT).choices[0].message
    read: list[int] = []
    model: Any = served.generator.loaded.language_model
    run = model._run
    monkeypatch.setattr(model, "_run", lambda tokens, *rest: (read.append(len(tokens)), run(tokens, *rest))[1])
    turns = [*QUESTION, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And 3 + 3?"}]
    second = client.chat.completions.create(**CHAT | {"messages": turns})
    assert second.usage is not None
    assert 0 < max(read) < second.usage.prompt_tokens - 50  # the first turn's prompt has more tokens than that


def test_completions_go_on_with_a_text_or_with_token_ids(client: openai.OpenAI, served: Served) -> None:
    text = "def double(x):"
    ids = served.generator.loaded.tokenizer(text)["input_ids"]
    answers = [client.completions.create(model="guided-gen", prompt=p, max_tokens=12, seed=3, logprobs=0) for p in (text, ids)]
    assert answers[0].choices[0].text == answers[1].choices[0].text
    logprobs = answers[0].choices[0].logprobs
    assert logprobs is not None and logprobs.tokens is not None
    assert len(logprobs.tokens) == len(logprobs.token_logprobs or []) == answers[0].usage.completion_tokens  # type: ignore[union-attr]
    chunks = client.completions.create(model="guided-gen", prompt=text, max_tokens=12, seed=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == answers[0].choices[0].text


def test_the_model_is_listed(client: openai.OpenAI, served: Served) -> None:
    names = [model.id for model in client.models.list()]
    assert served.generator.loaded.identity.name in names and "guided-gen" in names
    assert client.models.retrieve("guided-gen").id == "guided-gen"


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "gpt-9"),
        ({"max_tokens": 4000}, openai.BadRequestError, "3000"),
        ({"n": 100}, openai.BadRequestError, "candidates"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"messages": [{"role": "user", "content": "long " * 1000}]}, openai.BadRequestError, "tokens"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"extra_body": {"guided": {"policy": "magic"}}}, openai.BadRequestError, "no policy 'magic'"),
        ({"extra_body": {"guided": {"policy": "mcts:simulations=1000000000"}}}, openai.BadRequestError, "up to"),
        ({"extra_body": {"guided": {"policy": "forking-search:total=nan"}}}, openai.BadRequestError, "finite"),
        ({"extra_body": {"guided": {"policy": "early-stop:threshold=2000"}}}, openai.BadRequestError, "up to"),
        ({"extra_body": {"guided": {"scorer": "value"}}}, openai.BadRequestError, "no value model"),
        ({"extra_body": {"unheard_of": 1}}, openai.BadRequestError, "unrecognized request argument: unheard_of"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, openai.BadRequestError, "tools"),
        ({"tool_choice": "required"}, openai.BadRequestError, "tool_choice needs tools"),
        ({"modalities": ["audio"]}, openai.BadRequestError, "modalities is not supported"),
        ({"reasoning_effort": "high"}, openai.BadRequestError, "reasoning_effort is not supported"),
        ({"top_logprobs": 3}, openai.BadRequestError, "top_logprobs needs logprobs"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_errors_are_those_that_the_client_knows(
    client: openai.OpenAI, changes: dict[str, Any], error: type[openai.APIStatusError], told: str
) -> None:
    for stream in (False, True):
        with pytest.raises(error) as raised:
            client.chat.completions.create(**CHAT | changes, stream=stream)
        assert told in str(raised.value)


def test_a_policy_may_leave_off_what_is_off_by_default(client: openai.OpenAI) -> None:
    for policy in ("early-stop:threshold=0.2", "early-stop:slack=0.5", "early-stop"):
        assert client.chat.completions.create(**CHAT, extra_body={"guided": {"policy": policy}}).choices


def test_a_prompt_beyond_the_context_has_the_code_that_clients_look_for(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**CHAT | {"messages": [{"role": "user", "content": "x" * 5000}]})
    assert raised.value.code == "context_length_exceeded"


def test_a_stream_that_is_closed_frees_its_search(endless_server: Served) -> None:
    client = openai.OpenAI(base_url=f"{endless_server.url}/v1", api_key="none", max_retries=0)
    stream = client.chat.completions.create(**ENDLESS, stream=True)
    for chunk, _ in zip(stream, range(5), strict=False):
        assert chunk.choices
    stream.close()
    assert eventually(lambda: endless_server.idle)


def test_a_cancelled_call_frees_its_search(endless_server: Served) -> None:
    async def cancel() -> None:
        async with openai.AsyncOpenAI(base_url=f"{endless_server.url}/v1", api_key="none", max_retries=0) as client:
            calls = [asyncio.create_task(client.chat.completions.create(**ENDLESS)) for _ in range(3)]
            await until(lambda: endless_server.generator.scheduler.live == 3)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(cancel())
    assert eventually(lambda: endless_server.idle)


def test_a_full_queue_says_when_to_come_again(endless_folder: Path) -> None:
    generator = GuidedGenerator.from_pretrained(str(endless_folder), precision="float32")
    limits = LIMITS.__class__(searches=1, waiting=1, new_tokens=3000)

    async def crowd(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            admission = server.app.state.service.admission
            calls = [asyncio.create_task(client.chat.completions.create(**ENDLESS)) for _ in range(2)]
            await until(lambda: (admission.running, admission.waiting) == (1, 1))
            with pytest.raises(openai.RateLimitError) as refused:
                await client.chat.completions.create(**ENDLESS)
            assert int(refused.value.response.headers["retry-after"]) >= 1
            calls[0].cancel()  # the one that waited gets the place
            await until(lambda: (admission.running, admission.waiting) == (1, 0))
            calls[1].cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    with serving(generator, limits) as server:
        asyncio.run(crowd(server.url))
        assert eventually(lambda: server.idle)


def test_a_search_ends_at_the_time_limit_with_what_there_is(endless_folder: Path) -> None:
    generator = GuidedGenerator.from_pretrained(str(endless_folder), precision="float32")
    with serving(generator, LIMITS.__class__(new_tokens=3000, seconds=0.5)) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
        answer = client.chat.completions.create(**ENDLESS)
        assert answer.choices[0].finish_reason == "length" and answer.usage is not None
        assert 0 < answer.usage.completion_tokens < 2900


def test_api_keys_are_asked_for(served: Served) -> None:
    with serving(served.generator, keys=["sesame", "open"]) as server:
        for key, admitted in (("sesame", True), ("open", True), ("seed", False), ("", False)):
            client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key or "none", max_retries=0)
            if admitted:
                assert client.models.list().data
            else:
                with pytest.raises(openai.AuthenticationError):
                    client.chat.completions.create(**CHAT)
