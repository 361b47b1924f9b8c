"""What an answer says of the search beside OpenAI's fields."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from guided_gen.server.chat_request import ChatRequest
from guided_gen.server.responses import OpenAIAnswer

from ..made_up_solutions import WRONG, candidate, solution

TOKENIZER = SimpleNamespace(decode=lambda tokens: "x")


def test_each_choice_says_which_example_it_fails_whole_and_streamed() -> None:
    asked = ChatRequest.model_validate({"model": "guided-gen", "messages": [{"role": "user", "content": "Double."}], "n": 2})
    counted: list[int] = []
    answer = OpenAIAnswer(asked, "tiny", TOKENIZER, counted.append)
    found = solution(candidate("def double(x): return x + 3", examples=(1, 2), failure=WRONG), candidate("pass"))
    whole = [choice["guided"] for choice in answer.whole(found)["choices"]]
    events = [json.loads(line[6:]) for line in answer.ended(found).decode().split("\n\n") if line.startswith("data: {")]
    streamed: list[Any] = [choice["guided"] for event in events for choice in event["choices"] if "guided" in choice]
    assert whole == streamed and counted == [4, 4]
    assert whole[0]["failure"]["expected"] == "4" and whole[0]["failure"]["got"] == "5" and whole[1]["failure"] is None
