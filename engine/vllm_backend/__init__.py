"""The language model that vLLM serves: requests, sampling and values inside its engine."""
