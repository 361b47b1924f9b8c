"""Chat templates: a model's own Jinja program that writes a conversation as one text.

A template comes with a model, so it is not trusted: it runs in Jinja's sandbox, on plain data, with bounded time and results. It
sees what transformers gives it: the messages, `add_generation_prompt`, the special tokens, `raise_exception`,
`strftime_now` and `tojson`. Models that think before they answer are asked not to: an answer's tokens are for its program.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from jinja2 import TemplateError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Concat, Dict, List, Node, Scope, Tuple
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..errors import ModelError

MAX_TEMPLATE = 1 << 18
_MAX_TEXT = 16 << 20
_MAX_ITEMS = 100_000
_SECONDS = 5.0
_NO_THINKING = {"enable_thinking": False, "thinking": False}
"""What templates call it: Qwen3 and SmolLM3 the first, Granite and DeepSeek the second."""
_OPENED, _CLOSED = "<think>", "\n\n</think>\n\n"


class ChatTemplate:
    """A compiled template. `special_tokens` (`bos_token`, ...) are variables in it."""

    def __init__(self, source: str, special_tokens: Mapping[str, str]) -> None:
        """Raises ModelError where it cannot be compiled."""
        if len(source) > MAX_TEMPLATE:
            raise ModelError(f"this model's chat template is longer than {MAX_TEMPLATE:,} characters")
        self._special_tokens = dict(special_tokens)
        with _explained():
            self._template = _Environment().from_string(source)

    def render(
        self, messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool, tools: Sequence[Mapping[str, Any]] = ()
    ) -> str:
        """The conversation as one text, with no thinking begun. Raises ModelError with the template's own words where it refuses
        the messages.
        """
        given = _NO_THINKING | self._special_tokens | {"add_generation_prompt": add_generation_prompt}
        with _explained(), _time_limit():
            plain, offered = json.loads(json.dumps([list(messages), list(tools) or None]))
            text = self._template.render(messages=plain, tools=offered, documents=None, **given)
        if add_generation_prompt and text.rstrip().endswith(_OPENED):  # it begins the thinking itself, whatever it is told
            text = text.rstrip() + _CLOSED
        return text


class _BoundedCode(CodeGenerator):
    """The Python that a template becomes: what it joins, and the lists that it makes, are asked for their size."""

    def visit_Concat(self, node: Concat, frame: Frame) -> None:
        self._asked("concat(str(part) for part in (", node.nodes, frame, ",))")

    def visit_List(self, node: List, frame: Frame) -> None:
        self._asked("bounded([", node.items, frame, "])")

    def visit_Tuple(self, node: Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._asked("bounded((", node.items, frame, ",))" if node.items else "))")
        else:
            super().visit_Tuple(node, frame)

    def visit_Dict(self, node: Dict, frame: Frame) -> None:
        self.write("environment.bounded(")
        super().visit_Dict(node, frame)
        self.write(")")

    def _asked(self, opening: str, parts: Sequence[Node], frame: Frame, closing: str) -> None:
        self.write(f"environment.{opening}")
        for number, part in enumerate(parts):
            self.write(", " if number else "")
            self.visit(part, frame)
        self.write(closing)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox without operations whose results may be as large as they like."""

    code_generator_class = _BoundedCode
    intercepted_binops = frozenset(["*", "**", "%", "+"])

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
        for unbounded in ("batch", "center", "format", "pprint", "slice", "urlize", "wordwrap", "xmlattr"):
            self.filters.pop(unbounded)
        self.filters |= {"tojson": _to_json, "indent": _indent, "replace": _replace, "join": _join}
        self.globals.pop("lipsum")
        self.globals |= {"raise_exception": _refuse, "strftime_now": _now}

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """What a block, a macro or the whole template writes, a piece at a time."""
        written, length = [], 0
        for part in parts:
            length += len(part)
            if length > _MAX_TEXT:
                raise TemplateError(f"it writes more than {_MAX_TEXT:,} characters")
            written.append(part)
        return "".join(written)

    @staticmethod
    def bounded(value: Any) -> Any:
        """`value`, which holds few items at all depths, one that it holds twice counted twice, as whatever prints it does."""
        left, found = _MAX_ITEMS, [value]
        while found:
            one = found.pop()
            if isinstance(one, list | tuple | dict):
                left -= len(one)
                if left < 0:
                    raise TemplateError(f"it makes a list of more than {_MAX_ITEMS:,} items")
                found += one.values() if isinstance(one, dict) else one
        return value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "+":
            return self.concat([left, right]) if isinstance(left, str) and isinstance(right, str) else self.bounded(left + right)
        small = all(isinstance(side, (int, float)) and abs(side) < 1 << 32 for side in (left, right))
        repeated = operator == "*" and isinstance(left, str) and isinstance(right, int) and len(left) * right < 1 << 16
        if not (small or repeated) or (operator == "**" and abs(right) > 64):
            raise TemplateError(f"it computes {operator} of something large or of no numbers")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, *arguments: Any, **named: Any) -> Any:
        text = getattr(function, "__self__", None)
        if isinstance(text, str) and function.__name__ == "replace":
            return _replace(text, *arguments, **named)
        if isinstance(text, str) and function.__name__ == "join":
            [items] = arguments
            return _join(items, text)
        return self.bounded(super().call(context, function, *arguments, **named))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _PADDING and bool(super().is_safe_attribute(obj, attr, value))


_PADDING = ("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate")


class _GenerationTag(Extension):
    """`{% generation %}`: marks what the assistant says, for training; the text is left as it is."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> Node:
        line = next(parser.stream).lineno
        return Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Jinja's own escapes characters for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent and min(indent, 16), separators=separators, sort_keys=sort_keys
    )


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = str(text).splitlines() or [""]
    space = " " * min(width, 64)
    rest = [space + line if line or blank else line for line in lines[1:]]
    return "\n".join([space + lines[0] if first else lines[0], *rest])


def _replace(text: object, old: str, new: str, count: int | None = -1) -> str:
    """Jinja's filter and Python's method."""
    told = str(text)
    most = told.count(old) if count in (None, -1) else min(told.count(old), count or 0)
    if len(told) + most * len(new) > _MAX_TEXT:
        raise TemplateError("it replaces parts of a text by something large")
    return told.replace(old, new, most)


def _join(items: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Jinja's filter and Python's method."""
    chosen = [str(item if attribute is None else item[attribute]) for item in items]
    if sum(map(len, chosen)) + len(d) * len(chosen) > _MAX_TEXT:
        raise TemplateError("it joins texts to something large")
    return d.join(chosen)


def _now(layout: str) -> str:
    return datetime.now().strftime(layout)


def _refuse(message: object) -> None:
    raise TemplateError(str(message))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a template is a program: it can raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(f"this model's chat template fails: {reason}") from error


@contextmanager
def _time_limit() -> Iterator[None]:
    """Stops what runs in this thread after `_SECONDS`, at the next line of the template."""
    until = time.monotonic() + _SECONDS

    def watch(frame: Any, event: str, argument: Any) -> Any:
        if time.monotonic() > until:
            raise TemplateError(f"it takes longer than {_SECONDS:.0f} seconds")
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
