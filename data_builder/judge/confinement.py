"""What a sandbox's own process does to itself before it meets a program. Runs inside; standard library only.

Three ways in, after the configuration's `level`:
    full        bubblewrap has set up namespaces and mounts; a root caller's uid is dropped here
    namespaces  the same picture made here with unshare, mount and pivot_root: a new root with read-only system folders, an
                empty /tmp of limited size, no /proc, no network, process 1 of its own PID namespace
    rlimits     no namespaces: uid dropped when root, Landlock where the kernel has it
"""

# pathlib, signal and contextlib would cost each start some milliseconds.
# ruff: noqa: PTH102, PTH103, PTH106, PTH112, PTH114, PTH115, PTH120, PTH123, PTH211
from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys
import time

from . import landlock, seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_RDONLY = 2, 4, 32, 4096, 16384, 1 << 18, 1
MNT_DETACH = 2
STRAGGLER_SECONDS = 5.0
SIGKILL = 9
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
# The numbers are the same on every architecture since Linux 5.1; pivot_root and capset are older and are not.
SYS_MOUNT_SETATTR = 442

libc = ctypes.CDLL(None, use_errno=True)
# Whether a signal to all processes reaches those of this sandbox and no others: it has a PID namespace, a uid of its own, or a
# Landlock domain that signals do not leave.
can_kill_all = False


def enter(config: dict[str, Any]) -> None:
    """Confine this process as `config` says; returns in the process that may run programs. Raises OSError."""
    level = config["level"]
    if level == "namespaces":
        _new_namespaces(config)
    if level == "rlimits" and config["uid"] is not None:
        config["paths"] = [
            f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_DIRECTORY)}" for path in config["paths"] if os.path.isdir(path)
        ]
    sys.path[:] = config["paths"]
    sys.path_importer_cache.clear()
    os.chdir(config["temp"])
    if level == "none":
        return
    if config["uid"] is not None:
        os.setgroups([])
        os.setresgid(config["uid"], config["uid"], config["uid"])
        os.setresuid(config["uid"], config["uid"], config["uid"])
    elif level == "namespaces":
        _drop_capabilities()
    options = [(PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1), (PR_SET_CHILD_SUBREAPER, 1)]
    if level != "rlimits":
        # The parent is bubblewrap, or our own launcher outside the namespace.
        options.append((PR_SET_PDEATHSIG, SIGKILL))
    for option, value in options:
        _check(libc.prctl(option, value, 0, 0, 0), "prctl")
    if level == "rlimits" and landlock.version() >= landlock.HAS_SCOPES:
        landlock.scope_signals()
    global can_kill_all
    can_kill_all = os.getpid() == 1 or config["uid"] is not None or (landlock.version() >= landlock.HAS_SCOPES)
    # A network namespace has nothing to connect to.
    seccomp.install(() if level == "rlimits" else (seccomp.AF_UNIX, seccomp.AF_INET, seccomp.AF_INET6))


def enter_test(config: dict[str, Any]) -> None:
    """Confine a test process further: beyond the supervisor, which at the level `rlimits` must stay out of its reach."""
    for name, limit in config["rlimits"].items():
        kind = getattr(resource, name)
        # The soft limit of processor time sends SIGXCPU, which can be ignored; the hard one a second later cannot. Programs that
        # recurse raise the limit of their stack, which counts as address space anyway.
        hard = resource.getrlimit(kind)[1] if name == "RLIMIT_STACK" else limit + (name == "RLIMIT_CPU")
        resource.setrlimit(kind, (limit, hard))
    if config["level"] == "rlimits" and landlock.version():
        landlock.restrict([*config["shown"], *config["paths"]], config["devices"], config["temp"])


def end_stragglers() -> None:
    """Kill and reap what a test left running: all that this process may signal, or else all that descends from it.

    Orphans become children of this process, which is their reaper in both cases. One by one a daemon that forks faster than its
    children are listed survives.
    """
    end = time.monotonic() + STRAGGLER_SECONDS
    while time.monotonic() < end:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                for pid in [-1] if can_kill_all else _children():
                    os.kill(pid, SIGKILL)
        except (ChildProcessError, ProcessLookupError):
            # None is left: the children of a dead child are ours before it can be waited for.
            return


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _new_namespaces(config: dict[str, Any]) -> None:
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
    if config["uid"] is None:
        flags |= CLONE_NEWUSER
    _check(libc.unshare(flags), "unshare")
    if config["uid"] is None:
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _new_root(config)
    pid = os.fork()
    if pid:
        os.closerange(0, 64)
        os.waitpid(pid, 0)
        os._exit(0)


def _new_root(config: dict[str, Any]) -> None:
    """Pivot into a tmpfs that has only what is shown (read-only), links, and empty folders that can be written."""
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
    os.mkdir("/tmp/old")
    _check(libc.pivot_root(b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    for path, inside in config["shown"].items():
        if os.path.islink("/old" + path):
            os.symlink(os.readlink("/old" + path), inside)
            continue
        if os.path.isdir("/old" + path):
            os.makedirs(inside, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            os.close(os.open(inside, os.O_CREAT))
        _mount("/old" + path, inside, "", MS_BIND | MS_REC)
    _check(libc.umount2(b"/old", MNT_DETACH), "umount")
    os.rmdir("/old")
    for path, target in config["links"].items():
        os.symlink(target, path)
    for folder in config["written"]:
        os.mkdir(folder)
    attributes = struct.pack("<QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    _check(libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, attributes, len(attributes)), "mount_setattr")
    for folder, size in config["written"].items():
        _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size}")


def _drop_capabilities() -> None:
    header, data = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    _check(libc.capset(header, data), "capset")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    _check(
        libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()), f"mount {target}"
    )


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
