"""The language model that torch runs, and its KV cache, which is a tree as the search's is."""
