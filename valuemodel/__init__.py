"""The value model: how likely a partial answer is to end up correct, after every token."""
