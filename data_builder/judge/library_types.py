"""Value types of the standard library, and NumPy's arrays, that cross between processes as themselves.

For each a name, how to tell it in values that `wire` knows, and how to make it again. Types are looked up by name: nothing is
imported before it is needed. Runs inside the sandbox too.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    _Told = Callable[[Any], Any]
    _Made = Callable[[Any], Any]


def told(value: Any, base: type) -> tuple[str, Any] | None:
    """The name of `base`, one of the types of `value`, and what to make it again from; None for other types."""
    name = f"{base.__module__}.{base.__qualname__}"
    try:
        return name, _TYPES[name][0](value)
    except (KeyError, TypeError):  # of no such type, or an array of records
        return None


def made(name: str, state: Any) -> Any:
    """The value of which `told` gave `name` and `state`. Raises whatever the type raises for a state that is none."""
    return _TYPES[name][1](state)


def _of(module: str, name: str) -> Callable[..., Any]:
    """A type of the standard library, imported where a value of it is met for the first time."""

    def make(*arguments: Any, **keyword_arguments: Any) -> Any:
        __import__(module)
        return getattr(sys.modules[module], name)(*arguments, **keyword_arguments)

    return make


def _array_told(array: Any) -> Any:
    if array.dtype.kind not in "?biufcSUOmM":
        raise TypeError(f"an array of {array.dtype}")
    return array.dtype.str, array.shape, array.ravel().tolist()


def _array_made(state: Any) -> Any:
    dtype, shape, items = state
    import numpy

    array = numpy.empty(len(items), dtype)
    for index, item in enumerate(items):  # not all at once: lists in an array of objects are items
        array[index] = item
    return array.reshape(shape)


def _zone_told(zone: Any) -> Any:
    return None if zone is None else zone.utcoffset(None)


def _zone_made(offset: Any) -> Any:
    return None if offset is None else _of("datetime", "timezone")(offset)


_USER_TYPES = ("UserDict", "UserList", "UserString")
_DATE = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond")


def _fields(value: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in names)


_TYPES: dict[str, tuple[_Told, _Made]] = {
    "builtins.ellipsis": (lambda value: None, lambda state: ...),
    "builtins.NotImplementedType": (lambda value: None, lambda state: NotImplemented),
    "builtins.range": (lambda value: (value.start, value.stop, value.step), lambda state: range(*state)),
    "builtins.slice": (lambda value: (value.start, value.stop, value.step), lambda state: slice(*state)),
    "builtins.bytearray": (bytes, bytearray),
    "builtins.memoryview": (bytes, memoryview),
    "builtins.dict_keys": (list, lambda state: dict.fromkeys(state).keys()),
    "builtins.dict_values": (list, lambda state: dict(enumerate(state)).values()),
    "builtins.dict_items": (list, lambda state: dict(state).items()),
    "collections.deque": (lambda value: (list(value), value.maxlen), lambda state: _of("collections", "deque")(*state)),
    "collections.Counter": (lambda value: list(dict.items(value)), lambda state: _of("collections", "Counter")(dict(state))),
    "collections.OrderedDict": (lambda value: list(value.items()), _of("collections", "OrderedDict")),
    "collections.defaultdict": (
        lambda value: list(dict.items(value)),
        lambda state: _of("collections", "defaultdict")(None, state),
    ),
    "collections.ChainMap": (lambda value: list(value.maps), lambda state: _of("collections", "ChainMap")(*state)),
    **{f"collections.{name}": (lambda value: value.data, _of("collections", name)) for name in _USER_TYPES},
    "builtins.mappingproxy": (dict, _of("types", "MappingProxyType")),
    "types.SimpleNamespace": (lambda value: vars(value), lambda state: _of("types", "SimpleNamespace")(**state)),
    "array.array": (lambda value: (value.typecode, value.tolist()), lambda state: _of("array", "array")(*state)),
    "pathlib.PosixPath": (str, _of("pathlib", "PosixPath")),
    "decimal.Decimal": (str, _of("decimal", "Decimal")),
    "fractions.Fraction": (
        lambda value: (value.numerator, value.denominator),
        lambda state: _of("fractions", "Fraction")(*state),
    ),
    "datetime.timedelta": (
        lambda value: _fields(value, ("days", "seconds", "microseconds")),
        lambda state: _of("datetime", "timedelta")(*state),
    ),
    "datetime.date": (lambda value: _fields(value, _DATE), lambda state: _of("datetime", "date")(*state)),
    "datetime.time": (
        lambda value: (*_fields(value, _TIME), _zone_told(value.tzinfo)),
        lambda state: _of("datetime", "time")(*state[:-1], _zone_made(state[-1])),
    ),
    "datetime.datetime": (
        lambda value: (*_fields(value, _DATE + _TIME), _zone_told(value.tzinfo)),
        lambda state: _of("datetime", "datetime")(*state[:-1], _zone_made(state[-1])),
    ),
    "numpy.ndarray": (_array_told, _array_made),
}
