"""The openai client against `guided-gen serve`: the three best answers of a search, and what the search cost."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("GUIDED_GEN_URL", "http://127.0.0.1:8000/v1"), api_key=os.environ.get("GUIDED_GEN_KEY", "none")
)
answer = client.chat.completions.create(
    model="guided-gen",
    messages=[{"role": "user", "content": "Write a Python function double(x)."}],
    n=3,
    max_tokens=120,
    extra_body={"guided": {"n": 8, "policy": "beam:width=4", "budget": 800}},
)
for choice in answer.choices:
    print(choice.message.content, choice.guided["score"])
print(answer.usage.searched_tokens, "tokens searched")
