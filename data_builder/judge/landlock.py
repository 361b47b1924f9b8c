"""Landlock (Linux 5.13): a process gives up all files but some, for good and for its children; later kernels: TCP, signals.

It needs no privilege, which makes it what the level `rlimits` has to hide files with. Runs inside the sandbox; standard
library only. https://docs.kernel.org/userspace-api/landlock.html
"""

# pathlib, signal and contextlib would cost each start some milliseconds.
# ruff: noqa: PTH112
from __future__ import annotations

import ctypes
import os
import struct

SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
ASK_VERSION, RULE_PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
# How many of the file rights, in the order of their bits, each version of the interface knows.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
FILE_RIGHTS_LATER = 16
TCP_BIND_AND_CONNECT, SCOPE_SIGNALS, SCOPE_SOCKETS_AND_SIGNALS = 3, 2, 3
HAS_SCOPES = 6

libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """The interface version of the running kernel, 0 where there is none."""
    return max(0, int(libc.syscall(SYS_CREATE_RULESET, None, 0, ASK_VERSION)))


def restrict(readable: list[str], devices: list[str], writable: str) -> None:
    """Keep only reading below `readable`, writing to `devices` too, and everything below `writable`.

    Needs no_new_privs. Raises OSError.
    """
    kernel = version()
    everything = (1 << FILE_RIGHTS.get(kernel, FILE_RIGHTS_LATER)) - 1
    attributes = struct.pack(
        "<QQQ", everything, TCP_BIND_AND_CONNECT if kernel >= 4 else 0, SCOPE_SOCKETS_AND_SIGNALS if kernel >= HAS_SCOPES else 0
    )
    size = 8 if kernel < 4 else 16 if kernel < HAS_SCOPES else 24
    ruleset = _checked(libc.syscall(SYS_CREATE_RULESET, attributes, size, 0))
    for path in readable:
        _allow(ruleset, path, EXECUTE | READ_FILE | READ_DIR)
    for path in devices:
        _allow(ruleset, path, READ_FILE | WRITE_FILE)
    _allow(ruleset, writable, everything)
    _checked(libc.syscall(SYS_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def scope_signals() -> None:
    """Send signals to no process but those that are forked from now on. Needs no_new_privs and `HAS_SCOPES`. Raises OSError."""
    ruleset = _checked(libc.syscall(SYS_CREATE_RULESET, struct.pack("<QQQ", 0, 0, SCOPE_SIGNALS), 24, 0))
    _checked(libc.syscall(SYS_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH)
    except OSError:
        return  # what cannot be opened needs no permission
    if not os.path.isdir(path):
        rights &= EXECUTE | READ_FILE | WRITE_FILE
    _checked(libc.syscall(SYS_ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("<Qi", rights, parent), 0))
    os.close(parent)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return int(result)
