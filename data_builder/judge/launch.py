"""How the process of a sandbox is started at each isolation level: command line, configuration, environment."""

from __future__ import annotations

import itertools
import marshal
import os
import resource
import shutil
import struct
import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

from .verdict import Isolation, ProgramLimits

# Reads the modules that follow as (name, code) from standard input and starts the last one.
BOOT = """
import marshal, os, sys
def take(size):
    data = b""
    while len(data) < size:
        chunk = os.read(0, size - len(data))
        if not chunk:
            os._exit(1)
        data += chunk
    return data
for name, code in marshal.loads(take(int.from_bytes(take(4), "little"))):
    module = sys.modules[name] = type(sys)(name)
    module.__package__ = "judge"
    module.__path__ = []
    exec(code, module.__dict__)
for name in [name for name in sys.modules if name.startswith("judge")]:
    del sys.modules[name]
module.main()
"""
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "judge",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # A thread pool for each test would cost more than it gains, and counts against the limit of processes.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# For what asks whether they exist; what opens them gets the descriptor (see `program_process`).
LINKS = {f"/dev/{name}": "null" for name in ("stdin", "stdout", "stderr")}
# What the main module of a sandbox needs beside the modules that all need.
MODULES = {"supervisor": ["semaphores", "program_process"], "examiner_child": ["comparison"]}
_uid_count = itertools.count()


@cache
def interpreter() -> str:
    """The interpreter itself, behind the links of a virtual environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable) or sys.executable).resolve())


@cache
def library_paths() -> tuple[str, ...]:
    """`sys.path` of programs: the standard library, then the folders of packages that this interpreter imports from."""
    standard = Path(sysconfig.get_paths()["stdlib"])
    packages = [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages") and path.is_dir()]
    return tuple(dict.fromkeys(str(path.resolve()) for path in (standard, standard / "lib-dynload", *packages)))


@cache
def shown_paths() -> dict[str, str]:
    """The files of the machine that a sandbox shows, and where: system libraries, interpreter, packages, a few devices.

    They stand where they stand outside; what is below /tmp, where each sandbox has a folder of its own, stands in /shown.
    """
    system = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
    shown = {path: path for path in system if Path(path).exists()}
    for path in (str(Path(interpreter()).parents[1]), *library_paths()):
        if not any(Path(path).is_relative_to(above) for above in shown):
            shown[path] = f"/shown/{len(shown)}" if Path(path).is_relative_to("/tmp") else path
    return shown | {path: path for path in DEVICES}


def path_inside(path: str) -> str:
    """Where a sandbox with mounts of its own shows the file at `path`."""
    above = next(above for above in shown_paths() if Path(path).is_relative_to(above))
    return str(Path(shown_paths()[above]) / Path(path).relative_to(above))


def unprivileged_uid() -> int | None:
    """A uid for one sandbox when the caller is root, whom process limits do not hold; None for everybody else.

    Processes are counted by uid, so each running sandbox gets its own: from the upper half of those that exist here.
    """
    if os.getuid() != 0:
        return None
    first, _, length = (int(field) for field in Path("/proc/self/uid_map").read_text().split("\n")[0].split())
    half = min(first + length, 1 << 31) // 2
    return half + (os.getpid() * 4096 + next(_uid_count) % 4096) % (half - 1)


def command(level: Isolation, limits: ProgramLimits) -> list[str]:
    """The command line of a sandbox."""
    # -P and -s: no current folder, no user's packages; -S: no site; the environment is ours.
    python = [interpreter(), "-S", "-s", "-P", "-B", "-c", BOOT, process_sign()]
    if level != "full":
        return python
    bwrap = shutil.which("bwrap") or "bwrap"
    # No --die-with-parent: the parent is a thread, which may end before the judge. The supervisor leaves when its pipe closes.
    arguments = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--as-pid-1"]
    if os.getuid() == 0:
        arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user"]
    made = {"/"}
    for path, inside in shown_paths().items():
        for parent in [str(parent) for parent in reversed(Path(inside).parents)]:
            if parent not in made:
                # Made by hand: those that bubblewrap makes itself are closed to the uid that root drops to.
                arguments += ["--dir", parent]
                made.add(parent)
        if Path(path).is_symlink():
            arguments += ["--symlink", str(Path(path).readlink()), inside]
        else:
            arguments += ["--dev-bind" if path in DEVICES else "--ro-bind", path, inside]
    for path, target in LINKS.items():
        arguments += ["--symlink", target, path]
    for folder, size in _written(level, limits, "").items():
        arguments += ["--perms", "1777", "--size", str(size), "--tmpfs", folder]
    arguments += ["--remount-ro", "/"]
    return [*arguments, "--", path_inside(python[0]), *python[1:]]


def process_sign() -> str:
    """A word in the command line of every sandbox that this process starts."""
    return f"judge-{os.getpid()}"


def confinement(level: Isolation, limits: ProgramLimits, temp: str, uid: int | None) -> dict[str, Any]:
    """What the first process inside has to know to confine itself and the tests."""
    return {
        "level": level,
        "uid": uid,
        "temp": temp,
        "written": _written(level, limits, temp),
        "paths": [path_inside(path) if level in ("full", "namespaces") else path for path in library_paths()],
        "shown": shown_paths(),
        "devices": list(DEVICES),
        "links": LINKS,
        "wall_seconds": limits.wall_seconds,
        "output_bytes": limits.output_bytes,
        "rlimits": {} if level == "none" else _rlimits(level, limits, uid),
    }


def _written(level: Isolation, limits: ProgramLimits, temp: str) -> dict[str, int]:
    """The folders that programs can write to, with the bytes that there is room for: the second is for semaphores."""
    return (
        {"/tmp": limits.temp_bytes, "/dev/shm": limits.file_bytes}
        if level in ("full", "namespaces")
        else {temp: limits.temp_bytes}
    )


def _rlimits(level: Isolation, limits: ProgramLimits, uid: int | None) -> dict[str, int]:
    processes = limits.processes
    if level == "rlimits" and uid is None:
        # Without a user namespace all processes of this user count.
        processes += _threads_of_user()
    return {
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": processes,
        "RLIMIT_CORE": 0,
        "RLIMIT_STACK": _stack_bytes(),
    }


def _stack_bytes() -> int:
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    return 64 << 20 if hard == resource.RLIM_INFINITY else min(hard, 64 << 20)


def _threads_of_user() -> int:
    count = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        if int(fields["Uid"].split()[0]) == os.getuid():
            count += int(fields["Threads"])
    return count


@cache
def boot_code(main_module: str) -> bytes:
    """The code of `main_module` and of what it needs, for BOOT to read."""
    here = Path(__file__).parent
    modules = [
        "library_types",
        "wire",
        "landlock",
        "seccomp",
        "confinement",
        "frames",
        "remote",
        *MODULES[main_module],
        main_module,
    ]
    codes = [("judge", compile("", "judge", "exec"))]
    codes += [(f"judge.{name}", compile((here / f"{name}.py").read_text(), f"{name}.py", "exec")) for name in modules]
    data = marshal.dumps(codes)
    return struct.pack("<I", len(data)) + data
