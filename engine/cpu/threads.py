"""The helper threads of OpenMP, on a CPU: every thread that computes in parallel has some of its own, and keeps them.

Where a process has more of them than processors, GNU's OpenMP lets each sleep as soon as it has nothing to do, and a decode step,
which parts its work hundreds of times, waits for them to wake. So a thread that has loaded a model ends its helpers before
another one decodes (docs/speed.md).
"""

from __future__ import annotations

import ctypes

import torch  # noqa: F401  (brings OpenMP)

_SOFT = 1  # of omp_pause_resource_all(3)


def end_helper_threads() -> None:
    """End those of the calling thread; it gets new ones when it computes again. Does nothing where OpenMP cannot."""
    library = ctypes.CDLL(None)
    if hasattr(library, "omp_pause_resource_all"):
        library.omp_pause_resource_all(_SOFT)
