"""Large temporary tensors on a CPU: keep their memory from one step to the next.

By default glibc takes every large block fresh from the system and gives it back at once, so that a step of decoding, whose logits
alone are tens of megabytes, touches all its pages anew: half of the time of sampling, a sixth of a whole step
(`benchmarks/studies/build_throughput.py`).
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def keep_freed_memory() -> None:
    """Give back what is free now; from now on serve large blocks from this process's heap, and keep them there.

    Does nothing where libc is not glibc.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
