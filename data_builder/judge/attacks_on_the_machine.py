"""Hostile programs that try to harm the machine, other programs or the judge. `attacks.py` says what stands in @...@.

Each returns text that starts with ESCAPED where it can see for itself that it got through; the rest is observed from outside.
"""

from __future__ import annotations

CALL: dict[str, tuple[str, str]] = {
    "fork bomb": (
        "forks until it cannot",
        """
import os, time
def f(x):
    for count in range(2000):
        try: pid = os.fork()
        except OSError: break
        if pid == 0:
            time.sleep(20)
            os._exit(0)
    return "ESCAPED: %d processes" % count if count > 100 else "x"
""",
    ),
    "spreading fork bomb": ("forks without end in every process", "import os\ndef f(x):\n    while True: os.fork()\n"),
    "thread bomb": (
        "starts threads until it cannot",
        """
import threading, time
def f(x):
    try:
        for count in range(2000): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    except RuntimeError: pass
    return "ESCAPED: %d threads" % count if count > 100 else "x"
""",
    ),
    "double fork": (
        "leaves a daemon that outlives it",
        """
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 256)
            time.sleep(30)
        os._exit(0)
    return "x"
""",
    ),
    "daemon under another name": (
        "leaves a daemon that runs another program with a clean environment",
        """
import os
def f(x):
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: os.execve("/bin/sleep", ["@MARK@", "30"], {})
        os._exit(0)
    os.close(write)
    os.read(read, 1)  # until the daemon runs, which closes its end
    return "x"
""",
    ),
    "zombie children": (
        "leaves children that nobody waits for",
        """
import os
def f(x):
    for _ in range(15):
        if os.fork() == 0: os._exit(0)
    return "x"
""",
    ),
    "endless loop": (
        "loops for ever with all signals ignored",
        """
import signal
def f(x):
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: pass
""",
    ),
    "sleep": ("sleeps for ever, using no processor time", "import time\ndef f(x): time.sleep(10 ** 6)\n"),
    "endless loop at import": ("never comes to define its function", "while True: pass\n"),
    "memory bomb": (
        "asks for more and more memory",
        "def f(x):\n    kept = []\n    while True: kept.append(bytearray(1 << 24))\n",
    ),
    "memory bomb, swallowed": (
        "asks for memory and swallows the error",
        """
def f(x):
    kept = []
    for _ in range(10 ** 4):
        try: kept.append(bytearray(1 << 22))
        except MemoryError: break
    return "ESCAPED: %d MB" % (4 * len(kept)) if len(kept) > 256 else "x"
""",
    ),
    "compile bomb": ("is source that breaks parsers", "f = " + "(" * 5000 + ")" * 5000 + "\n"),
    "deep source": ("is source nested too deep for a C stack", "f = " + "-" * 200_000 + "1\n"),
    "endless output": (
        "prints for ever",
        "import os\ndef f(x):\n    while True:\n        os.write(1, b'A' * 65536)\n        os.write(2, b'A' * 65536)\n",
    ),
    "huge result": ("returns more than any answer needs", "def f(x): return 'A' * (1 << 26)\n"),
    "disk filling": (
        "writes files until it cannot",
        """
import os
def f(x):
    written = 0
    try:
        for number in range(64):
            with open("fill%d" % number, "wb", 0) as file:
                try:
                    for _ in range(8): written += file.write(b"A" * (1 << 20))
                except OSError: pass
    except OSError: pass
    return "ESCAPED: %d MB" % (written >> 20) if written > (64 << 20) else "x"
""",
    ),
    "large file": (
        "writes one endless file",
        """
def f(x):
    written = 0
    try:
        with open("large", "wb", 0) as file:
            for _ in range(128): written += file.write(b"A" * (1 << 20))
    except OSError: pass
    return "ESCAPED: %d MB" % (written >> 20) if written > (64 << 20) else "x"
""",
    ),
    "stubborn files": (
        "leaves closed folders, deep folders and files that are hard to remove",
        """
import os
def f(x):
    own = os.open(".", os.O_RDONLY)
    os.mkdir("closed"); open("closed/file", "w").close(); os.chmod("closed", 0)
    os.mkfifo("pipe")
    os.symlink("/", "root")
    os.symlink("@OUTSIDE@", "outside")
    for _ in range(1200):
        os.mkdir("d" * 100); os.chdir("d" * 100)
    try: os.fchmod(own, 0)
    except PermissionError: pass  # it is root's
    return "x"
""",
    ),
    "writing outside": (
        "writes to every place outside its folder that it can name",
        """
import os
def f(x):
    for folder in ("@OUTSIDE@", "..", "/", "/usr", "/etc", "/var/tmp", "/dev/shm", "/home", "/root", os.path.dirname(os.__file__)):
        try:
            path = os.path.join(folder, "@MARK@")
            open(path, "w").close()
            if folder in ("@OUTSIDE@", "/dev/shm", "/var/tmp"): continue  # seen from outside, if it is there
            os.unlink(path)
            return "ESCAPED: wrote to " + folder
        except OSError: pass
    return "x"
""",
    ),
    "symlinks": (
        "reaches outside through symbolic and hard links and renamed folders",
        """
import os
def f(x):
    tricks = [
        lambda: (os.symlink("@OUTSIDE@", "link"), open("link/@MARK@", "w").close()),
        lambda: (os.symlink("@TESTS@", "file"), open("file", "a").write("@MARK@")),
        lambda: (os.link("@TESTS@", "hard"), open("hard", "a").write("@MARK@")),
        lambda: (os.rename("@OUTSIDE@", "moved"), open("moved/@MARK@", "w").close()),
        lambda: (os.chroot("."), open("/@MARK@", "w").close()),
    ]
    for trick in tricks:
        try:
            trick()
            return "ESCAPED: wrote through a link"
        except OSError: pass
    return "x"
""",
    ),
    "network": (
        "connects to a port of this machine",
        """
import socket
def f(x):
    try:
        socket.create_connection(("127.0.0.1", @PORT@), 1).sendall(b"hello")
        return "ESCAPED: connected"
    except OSError: return "x"
""",
    ),
    "listening": (
        "opens a port that others can connect to",
        """
import socket
def f(x):
    try:
        with socket.socket() as server:
            server.bind(("0.0.0.0", 0))
            server.listen()
            names = open("/proc/net/dev").read() if __import__("os").path.exists("/proc/net/dev") else ""
            return "ESCAPED: listening" if names.count(":") > 1 else "x"
    except OSError: return "x"
""",
    ),
    "datagrams": (
        "sends a datagram to a port of this machine",
        """
import socket
def f(x):
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"@MARK@", ("127.0.0.1", @PORT@))
    except OSError: pass
    return "x"
""",
    ),
    "abstract socket": (
        "connects to a socket of the judge's user that has no file",
        """
import socket
def f(x):
    try:
        socket.socket(socket.AF_UNIX).connect("\\0@MARK@")
        return "ESCAPED: connected"
    except OSError: return "x"
""",
    ),
    "killing the judge": (
        "sends deadly and stopping signals to the judge's processes",
        """
import os, signal
def f(x):
    for pid in (@CANARY@, os.getppid()):
        for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
            try: os.kill(pid, number)
            except OSError: pass
    return "x"
""",
    ),
    "debugging the supervisor": (
        "attaches to its parent process with ptrace",
        """
import ctypes, os
def f(x):
    libc = ctypes.CDLL(None)
    attached = any(libc.ptrace(16, pid, None, None) == 0 for pid in (os.getppid(), @CANARY@))
    return "ESCAPED: attached" if attached else "x"
""",
    ),
    "becoming root": (
        "tries to be, or to become, uid 0 with rights over the machine",
        """
import ctypes, os
def f(x):
    if os.getuid() == 0 or os.geteuid() == 0: return "ESCAPED: uid 0"
    for trick in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.chroot("/tmp")):
        try:
            trick()
            return "ESCAPED: privileged"
        except OSError: pass
    for command in (["/bin/su"], ["/usr/bin/sudo", "-n", "true"]):
        if os.path.exists(command[0]) and os.spawnv(os.P_WAIT, command[0], [*command, "-c", "true"]) == 0:
            return "ESCAPED: by " + command[0]
    mounted = ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0
    return "ESCAPED: mounted" if mounted else "x"
""",
    ),
    "raising limits": (
        "raises its own limits",
        """
import resource
def f(x):
    for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
        try:
            resource.setrlimit(getattr(resource, name), (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return "ESCAPED: raised " + name
        except (OSError, ValueError): pass
    return "x"
""",
    ),
    "devices": (
        "opens the machine's devices",
        """
import glob, os
def f(x):
    for path in ["/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/proc/sysrq-trigger", *glob.glob("/dev/[svn][dv][a-z]*")]:
        try:
            os.close(os.open(path, os.O_RDWR))
            return "ESCAPED: opened " + path
        except OSError: pass
    return "x"
""",
    ),
    "shared memory": (
        "leaves a System V shared memory segment behind",
        "import ctypes\ndef f(x):\n    ctypes.CDLL(None).shmget(0, 1 << 16, 0o1666)\n    return 'x'\n",
    ),
    "descriptors": (
        "opens files until it cannot",
        """
import os
def f(x):
    count = 0
    try:
        while count < 5000: os.open("/dev/null", os.O_RDONLY); count += 1
    except OSError: pass
    return "ESCAPED: %d descriptors" % count if count > 1000 else "x"
""",
    ),
    "ctypes crash": ("crashes the interpreter", "import ctypes\ndef f(x): return ctypes.string_at(0)\n"),
    "deep recursion": (
        "recurses without limit, in Python and in C",
        """
import sys
sys.setrecursionlimit(10 ** 9)
class Deep:
    def __repr__(self): return repr(self)
def f(x): return repr(Deep()) + f(x)
""",
    ),
    "catastrophic pattern": (
        "spends for ever in one C call that checks no signals",
        "import re\ndef f(x): return re.match(r'(a*)*b' * 3, 'a' * 40)\n",
    ),
}
