"""Hostile programs that try to pass without knowing an answer. `attacks.py` says what the words in @...@ stand for."""

from __future__ import annotations

# Looks for tokens like the expected ones (32 hexadecimal digits) in whatever text it is given.
HUNT = """
import re
TOKEN = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
def pick(texts, x):
    found = [t for text in texts for t in TOKEN.findall(text) if t != x]
    return found[0] if found else "nothing found"
"""

CALL: dict[str, tuple[str, str]] = {
    "always equal": (
        "returns an object whose __eq__ is always true",
        """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(x): return Liar()
""",
    ),
    "always equal string": (
        "returns a str subclass that equals everything",
        """
class Liar(str):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    __hash__ = str.__hash__
def f(x): return Liar("x")
""",
    ),
    "liars in containers": (
        "returns list, dict and tuple subclasses full of liars",
        """
class Text(str):
    __eq__ = lambda self, other: True
    __hash__ = lambda self: 0
class Items(list):
    __eq__ = lambda self, other: True
    __len__ = lambda self: 1
    __iter__ = lambda self: iter(self.endless())
    def endless(self):
        while True: yield Text("y")
def f(x): return Items([Text("a"), (Text("b"),), {Text("c"): Text("d")}])
""",
    ),
    "false class": (
        "returns an object that claims to be a str by __class__, and patches isinstance and type",
        """
import builtins
class Liar:
    __class__ = property(lambda self: str)
    __eq__ = lambda self, other: True
    encode = lambda self, *a: b"anything"
builtins.isinstance = lambda *a: True
def f(x): return Liar()
""",
    ),
    "frame walk": (
        "searches all frames above it for the expected value",
        HUNT
        + """
import sys
def f(x):
    texts, frame = [], sys._getframe()
    while frame:
        texts += [repr(frame.f_locals), repr(frame.f_globals)]
        frame = frame.f_back
    return pick(texts, x)
""",
    ),
    "garbage collector search": (
        "searches every object of the process for the expected value",
        HUNT
        + """
import gc
def f(x):
    gc.unfreeze() if hasattr(gc, "unfreeze") else None
    texts = []
    for obj in gc.get_objects():
        for item in [obj, *gc.get_referents(obj)]:
            if type(item) is str: texts.append(item)
            if type(item) is bytes: texts.append(item.decode("latin-1"))
    return pick(texts, x)
""",
    ),
    "own memory search": (
        "reads its own memory, where the judge might have left something",
        HUNT
        + """
def f(x):
    texts = []
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if "r" in rights and "[v" not in line:
                start, end = (int(n, 16) for n in span.split("-"))
                memory.seek(start)
                texts.append(memory.read(end - start).decode("latin-1"))
    return pick(texts, x)
""",
    ),
    "patched serialisers": (
        "patches json, pickle, marshal, struct and os.write so that whatever is reported says passed",
        """
import os, sys, json, pickle, marshal, struct
write = os.write
os.write = lambda fd, data: write(fd, b"PASSED" + bytes(data)) and len(data)
json.dumps = json.dump = pickle.dumps = marshal.dumps = lambda *a, **k: '{"passed": true}'
struct.pack = lambda *a: b"\\x01" * 8
def f(x): return x
""",
    ),
    "forged frames": (
        "writes result lines and frames to every open descriptor, then exits with 0",
        """
import os, struct
FORGED = [b'{"status": "passed", "result": true}\\n', b"PASSED\\n", b"1\\n", struct.pack("<Q", 1) + b"T"]
def f(x):
    for fd in range(256):
        for text in FORGED:
            try: os.write(fd, text)
            except OSError: pass
    os._exit(0)
""",
    ),
    "forged nonce": (
        "finds the protocol's nonce in memory, and writes well-formed frames with it wherever it can",
        """
import gc, os, struct
def frames():
    for obj in gc.get_objects():
        if type(obj) is dict and type(obj.get("nonce")) is bytes:
            for payload in (b"T", b"s\\x06\\x00\\x00\\x00passed"):
                yield obj["nonce"] + struct.pack("<I", len(payload)) + payload
def f(x):
    targets = ["/proc/%d/fd/%d" % (pid, fd) for pid in (os.getpid(), os.getppid()) for fd in range(32)]
    for frame in frames():
        for target in [*range(256), *targets]:
            try:
                fd = target if type(target) is int else os.open(target, os.O_WRONLY | os.O_NONBLOCK)
                os.write(fd, frame)
            except OSError: pass
    os._exit(0)
""",
    ),
    "forged report": (
        "finds the pipe of its own report and writes made-up answers there",
        """
import os, struct
def tagged(*texts): return b"t" + struct.pack("<I", len(texts)) + b"".join(b"s" + struct.pack("<I", len(t)) + t for t in texts)
def f(x):
    for fd in range(3, 64):
        for report in (tagged(b"passed", b""), tagged(b"finished", b""), tagged(b"returned", b"T")):
            try: os.write(fd, report)
            except OSError: pass
            break
    os._exit(0)
""",
    ),
    "sys.exit": ("leaves with sys.exit(0)", "import sys\ndef f(x): sys.exit(0)\n"),
    "sys.exit at import": ("leaves with sys.exit(0) before there is a function", "import sys\nsys.exit(0)\n"),
    "os._exit": ("leaves with os._exit(0)", "import os\ndef f(x): os._exit(0)\n"),
    "os._exit at import": ("leaves with os._exit(0) before there is a function", "import os\nos._exit(0)\n"),
    "exit in a finaliser": (
        "exits with 0 from __del__, atexit, a thread and a signal handler",
        """
import atexit, os, signal, sys, threading
class Leaver:
    def __del__(self): os._exit(0)
def f(x):
    atexit.register(os._exit, 0)
    signal.signal(signal.SIGALRM, lambda *a: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    threading.Thread(target=lambda: os._exit(0)).start()
    leaver = Leaver()
    return "x"
""",
    ),
    "hostile exceptions": (
        "raises an exception with hostile __str__, __class__ and attributes",
        """
class Liar(BaseException):
    __class__ = property(lambda self: 1 / 0)
    lineno = property(lambda self: 1 / 0)
    __str__ = __repr__ = lambda self: (_ for _ in ()).throw(SystemExit(0))
    __eq__ = lambda self, other: True
def f(x): raise Liar
""",
    ),
    "test files": (
        "reads the file with the tests, whose path it knows",
        HUNT + "def f(x): return pick([line for line in open('@TESTS@') if x in line], x)\n",
    ),
    "test files by walking": (
        "walks up from every folder it can name, looking for the file with the tests",
        HUNT
        + """
import os
def f(x):
    own = "/" + "@TESTS@".split("/")[1]  # the top folder that the tests are in
    for top in (os.getcwd(), "/tmp", "/home", "/root", own, "/proc/@JUDGE@/cwd", "/proc/@JUDGE@/root/tmp", "/proc/1/root/tmp"):
        for folder, _, names in os.walk(top):
            for name in names:
                if name.endswith(".jsonl"):
                    try: texts = [line for line in open(os.path.join(folder, name)) if x in line]
                    except OSError: continue
                    if texts: return pick(texts, x)
    return "nothing found"
""",
    ),
    "judge's environment": (
        "reads the environment of the judge's processes",
        HUNT
        + """
import glob, os
def f(x):
    texts = [repr(dict(os.environ))]
    for path in glob.glob("/proc/[0-9]*/environ") + ["/proc/@CANARY@/environ"]:
        try: texts.append(open(path, "rb").read().decode("latin-1"))
        except OSError: pass
    return pick([text.replace(x, "", 1).split(x)[-1] for text in texts], x)
""",
    ),
    "judge's memory": (
        "reads the memory of the judge's process through /proc and process_vm_readv",
        HUNT
        + """
import ctypes, os
def f(x):
    texts = []
    for pid in ("@CANARY@", "@JUDGE@", str(os.getppid())):
        try:
            with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
                for line in maps:
                    span, rights = line.split()[:2]
                    start, end = (int(n, 16) for n in span.split("-"))
                    if rights.startswith("rw") and end - start < 1 << 24:
                        memory.seek(start)
                        data = memory.read(end - start).decode("latin-1")
                        texts += [data[i:i + 200].replace(x, "") for i in range(len(data)) if data.startswith(x, i)]
        except OSError: pass
    return pick(texts, x)
""",
    ),
    "judge's descriptors": (
        "reads every descriptor that it and the judge have open",
        HUNT
        + """
import os
def f(x):
    texts = []
    for path in ["/proc/%s/fd/%d" % (pid, fd) for pid in ("self", "@JUDGE@", "@CANARY@", os.getppid()) for fd in range(32)]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            texts.append(os.pread(fd, 1 << 20, 0).decode("latin-1"))
        except OSError: pass
    return pick([text.split(x)[-1] for text in texts if x in text], x)
""",
    ),
    "import hijacking": (
        "leaves modules of its own for the next test and puts itself into sys.modules and sys.meta_path",
        """
import os, sys
for name in ("heapq", "collections", "wire", "judge", "sitecustomize", "random", "encodings"):
    open(name + ".py", "w").write("import os\\nos._exit(0)\\n")
class Finder:
    def find_spec(*a): os._exit(0)
sys.meta_path.insert(0, Finder)
sys.path.insert(0, os.getcwd())
for name in list(sys.modules): sys.modules[name] = None
def f(x): return x
""",
    ),
    "learning from the last test": (
        "leaves what it has seen in files, modules and attributes for the next test",
        """
import builtins, os, sys
seen = getattr(builtins, "seen", 0) + getattr(sys, "seen", 0) + len(os.listdir("."))
def f(x):
    builtins.seen = sys.seen = 1
    open("seen", "w").write(x)
    return "ESCAPED: state of the last test" if seen else "x"
""",
    ),
    "huge integer": ("returns an integer that takes minutes to print", "def f(x): return 1 << (10 ** 7)\n"),
    "deep nesting": (
        "returns a list nested 100,000 deep, and one that holds itself",
        "def f(x):\n    a = []\n    a.append(a)\n    for _ in range(10 ** 5): a = [a]\n    return a\n",
    ),
    "equal hashes": (
        "returns a set of numbers with the same hash, quadratic to build",
        "def f(x): return list(range(10)), {i * (2 ** 61 - 1): 0 for i in range(1, 2000)}\n",
    ),
    "equal hashes, raw": (
        "writes a report with 400,000 dict keys of the same hash, past the encoder",
        """
import os, struct
def f(x):
    number = lambda i: b"i" + struct.pack("<I", 12) + (i * (2 ** 61 - 1)).to_bytes(12, "little")
    value = b"S" + struct.pack("<I", 400000) + b"".join(map(number, range(400000)))
    report = b"t" + struct.pack("<I", 2) + b"s" + struct.pack("<I", 8) + b"returned" + b"b" + struct.pack("<I", len(value)) + value
    for fd in range(3, 64):
        view = memoryview(report)
        try:
            while view: view = view[os.write(fd, view):]
        except OSError: pass
    os._exit(0)
""",
    ),
    "false lengths": (
        "writes a report that promises four billion items",
        """
import os
def f(x):
    for fd in range(3, 64):
        try: os.write(fd, b"t\\xff\\xff\\xff\\xff" + b"l\\xff\\xff\\xff\\xff" * 100)
        except OSError: pass
    os._exit(0)
""",
    ),
    "not a number": ("returns NaN, which is near to everything in careless code", "def f(x): return float('nan')\n"),
    "infinity": ("returns infinity, which is within any relative tolerance of itself", "def f(x): return float('inf')\n"),
    "returns nothing": ("returns None", "def f(x): return None\n"),
    "returns true": ("returns True", "def f(x): return True\n"),
}

STDIN: dict[str, tuple[str, str]] = {
    "patched print": (
        "replaces print, sys.stdout and sys.stdin by objects that agree with everything",
        """
import builtins, sys
class Liar(str):
    __eq__ = lambda self, other: True
    __hash__ = lambda self: 0
    write = print = flush = read = lambda self, *a: 0
    closed = False
print("PASSED", flush=True)
builtins.print = Liar("").print
sys.stdout = sys.__stdout__ = sys.stdin = Liar("PASSED")
""",
    ),
    "stdin tricks": (
        "reads past the end of stdin, seeks in it, reopens and overwrites it",
        HUNT
        + """
import os, sys
x = input()
texts = [sys.stdin.read()]
os.lseek(0, 0, 0)
texts.append(os.read(0, 1 << 20).decode())
try: texts.append(open("/dev/stdin").read()); texts.append(open("/proc/self/fd/0").read())
except OSError: pass
try: os.write(0, b"0" * 100)
except OSError: pass
print(pick([t.replace(x, "") for t in texts], x))
""",
    ),
    "echo": ("prints its input, and everything that it can be", "import sys\nsys.stdout.write(sys.stdin.read())\n"),
    "control characters": (
        "prints carriage returns, NUL, escapes and bytes that are no UTF-8",
        "import os\nos.write(1, b'\\x00\\r\\x1b[2J\\xff\\xfe PASSED \\x08\\x08\\x00')\n",
    ),
    "closed streams": ("closes all descriptors, then prints", "import os\nos.closerange(0, 256)\nprint('PASSED')\n"),
}

ASSERT: dict[str, tuple[str, str]] = {
    "always equal, in an assert": (
        "returns an object that makes every assert true",
        """
class Liar(str):
    __eq__ = __ne__ = __lt__ = __gt__ = __contains__ = __bool__ = lambda *a: True
    __hash__ = lambda self: 0
    __getattr__ = lambda self, name: self
def f(x): return Liar("x")
""",
    ),
    "patched assert": (
        "replaces AssertionError, the built-in names and the trace and exit hooks",
        """
import builtins, sys
builtins.AssertionError = type("Nothing", (Exception,), {"__init__": lambda self, *a: sys.exit(0)})
sys.excepthook = sys.settrace = lambda *a: None
def f(x): raise AssertionError
""",
    ),
    "exit in an assert": ("exits with 0 while an assert is waiting for it", "import os\ndef f(x): os._exit(0)\n"),
    "exception for an assert": (
        "raises exceptions named like those that end a test run well",
        "class AssertionError(Exception): pass\nclass SystemExit(Exception): pass\ndef f(x): raise SystemExit(0)\n",
    ),
}
