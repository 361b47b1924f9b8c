"""Decoding on CPUs: our own kernels and the models that use them."""
