"""Answers of another server that speaks OpenAI's API: ollama, llama.cpp's, LM Studio, vLLM's, this project's own."""
