"""The HTTP server: the OpenAI API over one generator, scores for others' texts, metrics, and a page to watch a search."""
