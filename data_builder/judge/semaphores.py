"""The semaphores of `multiprocessing` at the level rlimits, which has no /dev/shm that programs may write to: pipes.

A pipe holds as many bytes as the semaphore counts. Runs inside the sandbox, in place of CPython's `_multiprocessing`; only for
processes that are forked from one another, which inherit the pipes. Standard library only.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RECURSIVE_MUTEX = 0


def offer() -> None:
    """From now on `multiprocessing` makes these, and puts its shared values into the program's folder: /dev/shm has no room."""
    module: Any = ModuleType("_multiprocessing")
    module.SemLock, module.sem_unlink, module.flags = SemLock, lambda name: None, {}
    sys.modules["_multiprocessing"] = module
    statvfs = os.statvfs
    os.statvfs = lambda path: os.statvfs_result([0] * 11) if path == "/dev/shm" else statvfs(path)


class SemLock:
    """CPython's class of that name (Modules/_multiprocessing/semaphore.c): a recursive lock, or a semaphore up to `maxvalue`."""

    SEM_VALUE_MAX = 32767  # bytes that a pipe holds for certain
    name = None

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        self.kind, self.maxvalue = kind, maxvalue
        self._taking, self._giving = os.pipe()
        self.handle = self._taking
        os.set_blocking(self._taking, False)
        os.write(self._giving, bytes(value))
        self._held, self._owner = 0, 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        from select import select
        from threading import get_ident
        from time import monotonic

        if self.kind == RECURSIVE_MUTEX and self._is_mine():
            self._held += 1
            return True
        end = None if timeout is None else monotonic() + max(timeout, 0)
        while not self._taken():
            left = None if end is None else end - monotonic()
            if not block or (left is not None and left <= 0):
                return False
            select([self._taking], [], [], left)
        self._held, self._owner = self._held + 1, get_ident()
        return True

    def release(self) -> None:
        """Raises what CPython's does: AssertionError for another thread's lock, ValueError where it is full already."""
        if self.kind == RECURSIVE_MUTEX:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._held > 1:
                self._held -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        self._held -= 1
        os.write(self._giving, b"\0")

    def _taken(self) -> bool:
        try:
            return bool(os.read(self._taking, 1))
        except BlockingIOError:
            return False

    def _get_value(self) -> int:
        from array import array
        from fcntl import ioctl
        from termios import FIONREAD

        count = array("i", [0])
        ioctl(self._taking, FIONREAD, count)
        return count[0]

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _count(self) -> int:
        return self._held

    def _is_mine(self) -> bool:
        from threading import get_ident

        return self._held > 0 and self._owner == get_ident()

    def _after_fork(self) -> None:
        self._held, self._owner = 0, 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def __del__(self) -> None:
        os.close(self._taking)
        os.close(self._giving)
