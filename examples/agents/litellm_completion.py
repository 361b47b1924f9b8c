"""LiteLLM, as any OpenAI-compatible endpoint."""

import os

import litellm

answer = litellm.completion(
    model="openai/guided-gen",
    api_base=os.environ.get("GUIDED_GEN_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("GUIDED_GEN_KEY", "none"),
    messages=[{"role": "user", "content": "Write a Python function double(x)."}],
    max_tokens=120,
    extra_body={"guided": {"n": 8}},
)
print(answer.choices[0].message.content)
