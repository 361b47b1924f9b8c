"""From a model's name to a model that decodes: where files come from, what they hold, tokenizers, loading."""
