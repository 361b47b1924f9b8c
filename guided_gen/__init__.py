"""guided-gen: value-guided decoding that makes small language models write correct code more often."""

__version__ = "0.1.0"
