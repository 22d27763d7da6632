"""Jinja for chat templates, with the names that they expect and limits on what they do."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes, pass_context
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .allowed import COMPARISONS, FILTERS, METHODS, SHALLOW_FILTERS, TESTS
from .budget import LONGEST_TEXT, Budget, TemplateRefused
from .tree import rewritten

__all__ = ["Sandbox"]

_SOURCE = 50_000
_NUMBER = 10_000
_BITS = 256
_DEEPEST_CALL = 40
_SCOPES = ("_loop_vars", "_block_vars")
"""What Jinja adds to the arguments of calls."""
_RANGE = 10_000
_DATE = re.compile(r"(%-?[A-Za-z%]|[^%])*")


class _Generation(Extension):
    """``{% generation %}…{% endgeneration %}`` shows those who train a model which texts are its own, and does nothing
    else. https://huggingface.co/docs/transformers/main/en/chat_templating_writing"""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for chat templates, with the names that they expect."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, to_json: Callable[[object, int | None], str]) -> None:
        self.budget = Budget()

        @pass_context
        def output(_context: object, value: object) -> str:
            return self._output(value)

        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
            finalize=output,  # with a context, so that Jinja computes no output while it compiles
            optimized=False,
            cache_size=0,
        )
        filters: dict[str, Callable[..., Any]] = {
            name: self._counted(self.filters[name]) if name in SHALLOW_FILTERS else self._bounded(self.filters[name])
            for name in FILTERS
        }
        filters |= {"join": self._join, "replace": self._replace, "safe": self._weighed}
        filters["tojson"] = self._bounded(lambda value, indent=None, **_: to_json(value, indent))
        filters["from_json"] = self._bounded(_from_json)
        filters[":concat"] = self._concat
        filters[":loop"] = self._loop
        filters[":weigh"] = self._weighed
        filters[":work"] = self._work
        filters[":slice"] = self._sliced
        self.filters = filters
        known: Mapping[str, Any] = self.tests
        self.tests = {
            name: self._tested(known[name]) if name in COMPARISONS else self._counted(known[name]) for name in TESTS
        }
        self.globals = {
            "range": self._range,
            "namespace": self.globals["namespace"],
            "dict": lambda **values: values,
            "raise_exception": _raise,
            "strftime_now": _now,
        }
        self._functions = frozenset(map(id, self.globals.values()))

    def read(self, source: str) -> jinja2.Template:
        """A template that cannot do more than this module lets it. Raises `TemplateRefused`."""
        if len(source) > _SOURCE:
            raise TemplateRefused(f"it has {len(source)} characters, at most {_SOURCE} are read")
        try:
            tree = rewritten(self.parse(source))
            return self.from_string(tree)
        except TemplateRefused:
            raise
        except Exception as error:  # also RecursionError, and SyntaxError from Python's own compiler
            raise TemplateRefused(str(error) or type(error).__name__) from error

    def render(self, template: jinja2.Template, values: Mapping[str, object]) -> str:
        """What `template` makes of `values`. Raises `TemplateRefused`, or what the template raises."""
        self.budget.start()
        return template.render(values)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self, obj = __self, __obj
        self.budget.spend(1)
        if isinstance(obj, Macro):
            return self._macro(__context, obj, args, kwargs)
        if id(obj) in self._functions:
            return super().call(__context, obj, *args, **kwargs)
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, LoopContext):
            return super().call(__context, obj, *args, **kwargs)
        if name not in METHODS.get(type(owner), ()):
            raise TemplateRefused(f"it calls {name or type(obj).__name__!r}")
        self._sized([owner, *args, *(value for key, value in kwargs.items() if key not in _SCOPES)])
        if name == "join":
            return self._join(args[0], str(owner))
        if name == "replace":
            return self._replace(owner, *args)
        return self._known(super().call(__context, obj, *args, **kwargs))

    def _macro(self, context: Any, macro: Macro, args: Any, kwargs: Any) -> Any:
        self.budget.depth += 1
        try:
            if self.budget.depth > _DEEPEST_CALL:
                raise TemplateRefused("its macros call one another too deeply")
            return super().call(context, macro, *args, **kwargs)
        finally:
            self.budget.depth -= 1

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self._sized((left, right), large=operator != "**")
        if operator == "%" and isinstance(left, str):
            raise TemplateRefused("it formats with %")
        if operator == "*" and not (isinstance(left, int | float) and isinstance(right, int | float)):
            times, value = (left, right) if isinstance(left, int) else (right, left)
            if not isinstance(times, int) or len(value) * times > LONGEST_TEXT:
                raise TemplateRefused("it repeats something too often")
        if operator == "**" and not (_small(left, 1_000) and _small(right, 16)):
            raise TemplateRefused("it computes a power that is too large")
        if (
            operator == "+"
            and isinstance(left, str)
            and isinstance(right, str)
            and len(left) + len(right) > LONGEST_TEXT
        ):
            raise TemplateRefused("it makes a text that is too long")
        return self._known(super().call_binop(context, operator, left, right))

    def _known(self, value: Any) -> Any:
        """`value` after it has been counted; what would be computed later is computed now."""
        if not isinstance(value, str | int | float | list | tuple | dict | Undefined | None):
            value = list(value)
        self.budget.weigh(value)
        return value

    def _sized(self, values: Any, *, large: bool = True) -> None:
        """Numbers are small, everything else is counted."""
        for value in values:
            self.budget.weigh(value)
            if isinstance(value, int) and value.bit_length() > _BITS:
                raise TemplateRefused("it computes with numbers that are too large")
            if not large and isinstance(value, int) and abs(value) > _NUMBER:
                raise TemplateRefused(f"it passes the number {value}")

    def _bounded(self, filter: Callable[..., Any]) -> Callable[..., Any]:
        own = 1 if hasattr(filter, "jinja_pass_arg") else 0

        @functools.wraps(filter)
        def bounded(*args: Any, **kwargs: Any) -> Any:
            self._sized(args[own : own + 1])
            self._sized([*args[own + 1 :], *kwargs.values()], large=False)
            return self._known(filter(*args, **kwargs))

        return bounded

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.budget.spend(1)
            return function(*args, **kwargs)

        return counted

    def _tested(self, test: Callable[..., Any]) -> Callable[..., Any]:
        own = 1 if hasattr(test, "jinja_pass_arg") else 0

        @functools.wraps(test)
        def tested(*args: Any) -> Any:
            for value in args[own:]:
                self._weighed(value)
            return test(*args)

        return tested

    def _weighed(self, value: Any) -> Any:
        if isinstance(value, str | list | tuple | Mapping):
            self.budget.weigh(value)
        else:
            self.budget.spend(1)
        return value

    def _sliced(self, value: Any) -> Any:
        """A slice shares what is in it with what it was taken from."""
        self.budget.spend(1 + (len(value) // 16 if isinstance(value, str) else len(value)))
        return value

    def _output(self, value: object) -> str:
        text = self.budget.text(value)
        self.budget.spend(len(text))
        return text

    def _concat(self, values: list[object]) -> str:
        return self._joined("", values)

    def _joined(self, between: str, values: Any) -> str:
        texts = [self.budget.text(value) for value in values]
        if sum(map(len, texts)) + len(between) * len(texts) > LONGEST_TEXT:
            raise TemplateRefused("it makes a text that is too long")
        text = between.join(texts)
        self.budget.spend(len(text) // 16)
        return text

    def _join(self, values: Any, between: str = "", attribute: object = None) -> str:
        if attribute is not None:
            raise TemplateRefused("it joins attributes")
        return self._joined(self.budget.text(between), self._loop(values))

    def _replace(self, text: Any, old: Any, new: Any, count: Any = -1) -> str:
        told, before, after = self.budget.text(text), self.budget.text(old), self.budget.text(new)
        if len(told) + told.count(before) * len(after) > LONGEST_TEXT:
            raise TemplateRefused("it makes a text that is too long")
        return str(self._known(told.replace(before, after, -1 if count is None else int(count))))

    def _loop(self, values: Any) -> Any:
        """What a loop goes over, whole and counted: the loop's body is counted by itself."""
        if values is None:  # as `tools` are where there are none
            return ()
        if isinstance(values, Undefined | LoopContext):
            return values
        if not isinstance(values, str | list | tuple | Mapping):
            raise TemplateRefused(f"it loops over a {type(values).__name__}")
        self.budget.spend(len(values))
        return values

    def _work(self, weight: int) -> str:
        self.budget.spend(weight)
        return ""

    def _range(self, *bounds: int) -> list[int]:
        if any(not _small(bound, _RANGE) for bound in bounds):
            raise TemplateRefused("its range is too long")
        self.budget.spend(len(range(*bounds)))
        return list(range(*bounds))


def _from_json(text: object) -> Any:
    try:
        return json.loads(str(text))
    except RecursionError as error:
        raise TemplateRefused("it reads JSON that is too deep") from error


def _small(value: object, most: int) -> bool:
    return isinstance(value, int) and abs(value) <= most


def _raise(message: object = "") -> NoReturn:
    raise jinja2.TemplateError(str(message)[:500] if isinstance(message, str | int) else "")


def _now(form: str) -> str:
    if len(form) > 100 or not _DATE.fullmatch(form):  # the C library pads to any width
        raise TemplateRefused("it asks for an unusual form of the date")
    return datetime.now().astimezone().strftime(form)
