"""Objects that are no values stay in their process: the other side of a conversation gets stand-ins, which ask.

The two sides are a test (with the assert statements, and so with what is expected) and the program that it tests. What a test
gets of a program is a copy, of exact type, or a stand-in: to iterate over it, to call it or to read its attributes asks the
program, whose answers are copies again. So an assert compares copies. A program gets what a test passes to it, in the same way.

Never asked with a value of the test's own: whether something equals it, is less than it, contains it or starts with it. That
would tell what is expected to whoever can answer yes. Only objects that the test itself built from a class of the program (called
by a capitalised name) are, since they are what is tested there; and these are not asked about equality either.
"""

from __future__ import annotations

import builtins
import types

from .wire import WireError, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SCRIPT = "program.py"  # what the program's file is called

# Special methods, by whether what is passed to them can tell what is expected.
ASKED = (
    *("__call__", "__iter__", "__next__", "__reversed__", "__len__", "__getitem__", "__setitem__", "__delitem__", "__bool__"),
    *("__str__", "__repr__", "__hash__", "__int__", "__float__", "__complex__", "__index__", "__abs__", "__neg__", "__pos__"),
    *("__invert__", "__round__", "__trunc__", "__floor__", "__ceil__", "__enter__", "__exit__"),
)
TELLING = (
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__contains__", "__instancecheck__"),
    *(f"__{side}{name}__" for side in ("", "r") for name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow")),
    *(f"__{side}{name}__" for side in ("", "r") for name in ("divmod", "and", "or", "xor", "lshift", "rshift")),
)
TELLING_METHODS = ("startswith", "endswith", "count", "index", "rindex", "find", "rfind", "issubset", "issuperset", "isdisjoint")
# Names with an underscore that are no secrets: of named tuples and functions.
OPEN_NAMES = ("_asdict", "_fields", "_replace", "__name__", "__doc__")
# What `isinstance` says of a stand-in.
KINDS: dict[str, type] = {
    **{"map": map, "filter": filter, "zip": zip, "enumerate": enumerate, "reversed": reversed, "generator": types.GeneratorType},
    **{"coroutine": types.CoroutineType, "function": types.FunctionType, "method": types.MethodType},
}
# Types that both sides have. No others cross by name: what a function of the program's choice would do with a test's values?
SHARED_TYPES: dict[str, type] = {
    **{"bool": bool, "int": int, "float": float, "complex": complex, "str": str, "bytes": bytes, "bytearray": bytearray},
    **{"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict, "range": range, "object": object},
}
# Items of an iterator are fetched in growing portions, the first of them one by one.
ONE_BY_ONE, MOST_AT_ONCE = 16, 512


class ProgramError(Exception):
    """The program raised something that is no built-in Exception."""


class Broken(BaseException):
    """The other side says nothing more, or what makes no sense. Not an Exception, so that no test swallows it."""


class Peer:
    """One end of a conversation. `exchange` sends a message and returns the next one from the other end.

    root: whose attributes the other end gets by `named`. Requests are (what, number of the object, ...), answers ("value", value,
    changes of the arguments), ("argument", its number, changes) or ("raised", ...).
    """

    trusting = True  # whether the other end may be asked anything

    def __init__(self, exchange: Callable[[bytes], bytes], most_bytes: int, root: Any = None) -> None:
        self._exchange, self._most_bytes = exchange, most_bytes
        self._objects: list[Any] = [root]
        self._numbers: dict[int, int] = {}  # by id: the list keeps them alive
        self._postponed: dict[int, BaseException] = {}  # of iterators, by number
        self._stand_ins: dict[int, Any] = {}
        self._classes: dict[Any, type] = {}
        self._specials: dict[type, list[str]] = {}
        self._built = False  # whether what is decoded now comes from an object that the test built

    def named(self, name: str) -> Any:
        """What the other end calls so. By convention a capitalised name is that of a class."""
        return self.ask(0, "get", name, built=name[:1].isupper())[1]

    def serve(self, message: bytes) -> None:
        """Answer messages, of which this is the first, for ever."""
        while True:
            message = self._exchange(self._answer(self._decoded(message)))

    def ask(self, number: int, what: str, *details: Any, built: bool = False) -> tuple[Any, ...]:
        """Ask about an object of the other end, and answer what is asked meanwhile. Raises what it raised."""
        message = self._encoded((what, number, *details))
        while True:
            answer = self._decoded(self._exchange(message), built)
            if type(answer) is not tuple or not answer:
                raise Broken("an answer that is none")
            if answer[0] == "raised":
                raise self._error(*answer[1:])
            if answer[0] in ("value", "argument") and len(answer) == 3:
                return answer
            message = self._answer(answer)

    def may_answer(self, target: Any, what: str, name: Any) -> bool:
        """Whether the other end may ask this about an object that was passed to it. The program has no secrets."""
        return True

    def may_refer(self, value: Any) -> bool:
        """Whether an object may be passed to the other end as a stand-in."""
        return True

    def _answer(self, request: Any) -> bytes:
        try:
            what, number, *details = request
            target = self._objects[number]
            if not self.may_answer(target, what, details[0] if details else None):
                raise AttributeError(f"{type(target).__name__!r} object has no attribute {details[0]!r}")
            return self._encoded(self._answered(target, number, what, details))
        except Broken:
            raise
        except BaseException as error:
            return self._encoded(("raised", *self._told(error)))

    def _answered(self, target: Any, number: int, what: str, details: list[Any]) -> tuple[Any, ...]:
        if what == "call":
            return self._called(target, *details)
        if what == "next":
            return "value", self._next_items(target, number, *details), {}
        if what == "get":
            value = getattr(target, *details)
        elif what == "set":
            setattr(target, *details)
            value = None
        elif what == "special":
            name, arguments = details
            value = getattr(type(target), name)(target, *arguments)
        else:
            raise ValueError(f"a question that is none: {what!r}")
        return "value", value, {}

    def _called(self, target: Any, arguments: tuple[Any, ...], keyword_arguments: dict[str, Any]) -> tuple[Any, ...]:
        passed: dict[Any, Any] = {**dict(enumerate(arguments)), **keyword_arguments}
        # What has no hash can change.
        before = {key: self._encoded(value) for key, value in passed.items() if type(value).__hash__ is None}
        result = target(*arguments, **keyword_arguments)
        changes = {key: passed[key] for key, was in before.items() if self._encoded(passed[key]) != was}
        same = [key for key in before if passed[key] is result]
        return ("argument", same[0], changes) if same else ("value", result, changes)

    def _next_items(self, iterator: Any, number: int, count: int) -> tuple[list[Any], bool]:
        """Up to `count` items, and whether they are the last. An exception after some is raised by the next call."""
        if number in self._postponed:
            raise self._postponed.pop(number)
        items: list[Any] = []
        while len(items) < count:
            try:
                items.append(next(iterator))
            except StopIteration:
                return items, True
            except BaseException as error:
                if not items:
                    raise
                self._postponed[number] = error
                break
        return items, False

    def _encoded(self, message: Any) -> bytes:
        return encode(message, self._most_bytes, self._refer)

    def _decoded(self, message: bytes, built: bool = False) -> Any:
        self._built = built
        try:
            return decode(message, self._resolve)
        except WireError as error:
            raise Broken(str(error)) from None

    def _refer(self, value: Any) -> Any:
        """What is written of an object that is no value, or beside one."""
        if isinstance(value, StandIn):
            return "yours", value._number
        if isinstance(value, type) and SHARED_TYPES.get(value.__name__) is value:
            return "type", value.__name__
        if isinstance(value, type) and issubclass(value, Exception):
            return "error", _names(value)
        if not self.may_refer(value):
            raise WireError(f"a value of type {type(value).__name__}")
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)
        kind = type(value)
        if kind not in self._specials:
            own = [name for name in (*ASKED, *TELLING) if getattr(kind, name, None) is not getattr(object, name, None)]
            self._specials[kind] = own
        return "mine", number, str(kind.__module__), kind.__name__, self._specials[kind]

    def _resolve(self, value: Any, reference: Any) -> Any:
        match reference:
            case ("yours", int() as number):
                return self._objects[number]
            case ("type", str() as name):
                return SHARED_TYPES[name]
            case ("error", list() as names):
                return self._error_class(tuple(names))
            case ("mine", int() as number, str() as module, str() as name, list() as specials):
                if number not in self._stand_ins:
                    self._stand_ins[number] = self._stand_in(value, number, module, name, tuple(specials))
                return self._stand_ins[number]
        raise ValueError("a reference that is none")

    def _stand_in(self, value: Any, number: int, module: str, name: str, specials: tuple[str, ...]) -> Any:
        """For an object of the other end; one that is also a value, if it is of a subclass of one."""
        key = (type(value), module, name, specials)
        if key not in self._classes:
            self._classes[key] = _stand_in_class(None if value is None else type(value), module, name, specials)
        made: Any = self._classes[key]() if value is None else self._classes[key](value)
        for attribute, content in (("_peer", self), ("_number", number), ("_built", self._built), ("_ahead", None)):
            object.__setattr__(made, attribute, content)
        return made

    def _told(self, error: BaseException) -> tuple[Any, ...]:
        arguments = error.args
        try:
            self._encoded(arguments)
        except WireError:
            arguments = (str(error),)
        return _names(type(error)), arguments, *described(error, SCRIPT), error if self.may_refer(error) else None

    def _error(self, names: Any, arguments: Any, kind: Any, text: Any, place: Any, original: Any) -> Exception:
        """The exception that the other end raised, of a class that has its name and its built-in base."""
        cls = self._error_class(tuple(names))
        if issubclass(cls, StopIteration):
            cls = RuntimeError  # as for one that leaves a generator: it would end what iterates in the test
        try:
            error = cls(f"{kind}{text}") if cls is ProgramError else cls(*arguments)
        except Exception:
            error = cls(text)
        error.__dict__.update(from_program=True, text=text, place=place, original=original)
        return error

    def _error_class(self, names: tuple[str, ...]) -> type[Exception]:
        first, *others = names
        if not others:
            found = getattr(builtins, first, None)
            return found if isinstance(found, type) and issubclass(found, Exception) else ProgramError
        key = ("error", names)
        if key not in self._classes:
            body = {"__str__": lambda self: self.text, "__getattr__": lambda self, name: getattr(self.__dict__["original"], name)}
            self._classes[key] = type(first, (self._error_class(tuple(others)),), body)
        return self._classes[key]


class StandIn:
    """What stands for an object of the other end."""

    _peer: Peer
    _number: int
    _built: bool
    _ahead: Any

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("_") and name not in OPEN_NAMES) or (name in TELLING_METHODS and not self._built):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._peer.ask(self._number, "get", name, built=self._built)[1]

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask(self._number, "set", name, value)


def _stand_in_class(base: type | None, module: str, name: str, specials: tuple[str, ...]) -> type:
    if base is not None:
        return type(name, (base, StandIn), {})
    body: dict[str, Any] = {"__hash__": object.__hash__}
    body |= {special: _asking(special, module) for special in specials if special in ASKED or special in TELLING}
    if module == "builtins" and name in KINDS:
        body["__class__"] = property(lambda self: KINDS[name])
    return type(name, (StandIn,), body)


def _asking(special: str, module: str) -> Callable[..., Any]:
    """The method of that name of a stand-in."""

    def ask(self: Any, *arguments: Any) -> Any:
        return self._peer.ask(self._number, "special", special, arguments, built=self._built)[1]

    def tell(self: Any, *arguments: Any) -> Any:
        equality = special in ("__eq__", "__ne__")
        if self._peer.trusting or isinstance(arguments[0], StandIn) or (self._built and not equality):
            return ask(self, *arguments)
        if special == "__contains__":
            return any(item is arguments[0] or item == arguments[0] for item in self)
        return False if special == "__instancecheck__" else NotImplemented

    def leave(self: Any, kind: Any, error: Any, _: Any) -> bool:
        # Of the test's own exceptions the program learns no more than the class, and it ends none of them.
        return bool(ask(self, kind, None, None)) and getattr(error, "from_program", False)

    def call(self: Any, *arguments: Any, **keyword_arguments: Any) -> Any:
        what, value, changes = self._peer.ask(self._number, "call", arguments, keyword_arguments, built=self._built)
        passed: dict[Any, Any] = {**dict(enumerate(arguments)), **keyword_arguments}
        for key, changed in changes.items():
            _update(passed[key], changed)
        return passed[value] if what == "argument" else value

    def next_item(self: Any) -> Any:
        # The items of what is not built in are fetched one by one: other methods may tell how many were.
        items, fetched, last = self._ahead or ([], 0, False)
        if not items and not last:
            count = 1 if fetched < ONE_BY_ONE or module != "builtins" else min(fetched, MOST_AT_ONCE)
            items, last = self._peer.ask(self._number, "next", count, built=self._built)[1]
            items, fetched = items[::-1], fetched + len(items)
        if not items:
            raise StopIteration
        item = items.pop()
        object.__setattr__(self, "_ahead", (items, fetched, last))
        return item

    own: dict[str, Callable[..., Any]] = {"__call__": call, "__next__": next_item, "__exit__": leave}
    return own.get(special, ask if special in ASKED else tell)


def _update(argument: Any, changed: Any) -> None:
    """Make a mutable argument what the other end made of its copy."""
    if hasattr(argument, "shape"):
        argument[...] = changed
    elif isinstance(argument, list | bytearray):
        argument[:] = changed
    else:
        argument.clear()
        (argument.extend if hasattr(argument, "extend") else argument.update)(changed)


def _names(cls: type) -> list[str]:
    """The names of an exception's classes, from its own to the first that is built in."""
    names = []
    for base in cls.__mro__:
        names.append(base.__name__)
        if base.__module__ == "builtins":
            break
    return names


def described(error: BaseException, file: str) -> tuple[str, str, str]:
    """("ValueError: ", "text", " (line 3)"): type, message, and the innermost line in `file`."""
    line = getattr(error, "lineno", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    message = getattr(error, "msg", None) if isinstance(error, SyntaxError) else None
    return f"{type(error).__name__}: ", (message or str(error))[:300], f" (line {line})" if line else ""
