"""Tokens in, tokens out: the token tree, language models, the search loop, policies, scorers. Knows no problems and no text."""
