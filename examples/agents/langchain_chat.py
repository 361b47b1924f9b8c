"""LangChain's ChatOpenAI, whole and streamed."""

import os

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    model="guided-gen",
    base_url=os.environ.get("GUIDED_GEN_URL", "http://127.0.0.1:8000/v1"),
    api_key=os.environ.get("GUIDED_GEN_KEY", "none"),
    max_tokens=120,
    extra_body={"guided": {"n": 8}},
)
print(model.invoke("Write a Python function double(x).").content)
for chunk in model.stream("Write a Python function triple(x)."):
    print(chunk.content, end="", flush=True)
