"""Chat templates from files of strangers: what of Jinja they may use, and how much of it.

A template is read into Jinja's syntax tree. Only the kinds of nodes, filters, tests, functions and methods that are
listed here are let through. The tree is then rewritten so that everything that can take long or become large is
counted against one budget before it happens: each turn of a loop and each call of a macro by the size of its body,
each operator, filter, test and call by the size of what goes in and comes out. When the budget or the time is used
up, the rendering ends with `TemplateRefused`.

It imports Jinja and the standard library only, and runs as a script: `tryout` starts it in a process
of its own.
"""

from __future__ import annotations

import functools
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes, pass_context
from jinja2.runtime import LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

__all__ = ["Sandbox", "TemplateExhausted", "TemplateRefused"]

_SOURCE = 50_000
_SIZE = 6_000
"""Nodes of a template's syntax tree: compiling takes about a millisecond for ten."""
_WORK = 3_000_000
_LOOK = 1_000
"""Work between two looks at the clock."""
_SECONDS = 2.0
_TEXT = 500_000
_NUMBER = 10_000
_BITS = 256
_DEEPEST_CALL = 40
_SCOPES = ("_loop_vars", "_block_vars")
"""What Jinja adds to the arguments of calls."""
_RANGE = 10_000


_DATE = re.compile(r"(%-?[A-Za-z%]|[^%])*")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NODES = _words(
    """Template Output TemplateData For If Assign AssignBlock Macro CallBlock FilterBlock With Scope Name NSRef Const
    List Tuple Dict Pair Keyword CondExpr Filter Test Call Getitem Getattr Slice Concat Compare Operand Not And Or Neg
    Pos Add Sub Mul Div FloorDiv Mod Pow Break Continue"""
)
_FILTERS = _words(
    """abs capitalize count d default dictsort e escape first float indent int items last length list lower map max
    min reject rejectattr reverse round select selectattr sort string title trim unique upper"""
)
_OWN_FILTERS = _words("join replace safe tojson")
_TESTS = _words(
    """boolean callable defined divisibleby eq equalto even false filter float ge gt in integer iterable le lower lt
    mapping ne none number odd sameas sequence string test true undefined upper == != > >= < <="""
)
_METHODS: Mapping[type, frozenset[str]] = {
    str: _words(
        """capitalize count endswith find index isalnum isalpha isdigit islower isspace isupper join lower lstrip
        partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith
        strip title upper"""
    ),
    dict: _words("get items keys values copy"),
    list: _words("count index copy"),
    tuple: _words("count index"),
}


class TemplateRefused(Exception):
    """A template does something that is not let through, or too much of it."""


class TemplateExhausted(TemplateRefused):
    """A template does too much: in any other form of the conversation it will, too."""


class _Budget(threading.local):
    """What is left to the rendering that this thread does."""

    left = 0
    look = 0
    until = 0.0
    depth = 0

    def start(self) -> None:
        self.left, self.until, self.depth = _WORK, time.monotonic() + _SECONDS, 0
        self.look = _WORK - _LOOK

    def spend(self, work: int) -> None:
        self.left -= work
        if self.left < self.look:
            self.look = self.left - _LOOK
            if self.left < 0:
                raise TemplateExhausted("it does too much")
            if time.monotonic() > self.until:
                raise TemplateExhausted("it takes too long")

    def weigh(self, value: object) -> None:
        """Spend what `value` holds, counting what occurs twice twice, as its text would."""
        stack = [value]
        while stack:
            each = stack.pop()
            if isinstance(each, str):
                if len(each) > _TEXT:
                    raise TemplateRefused("it makes a text that is too long")
                self.spend(1 + len(each) // 16)
            elif isinstance(each, Mapping):
                self.spend(1 + len(each))
                stack.extend(each)
                stack.extend(each.values())
            elif isinstance(each, list | tuple):
                self.spend(1 + len(each))
                stack.extend(each)
            elif each is None or isinstance(each, int | float | Undefined):
                self.spend(1)
            else:
                raise TemplateRefused(f"it uses a {type(each).__name__} as a value")

    def text(self, value: object) -> str:
        """`value` as a text."""
        self.weigh(value)
        return str(value)


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja for chat templates, with the names that they expect."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, to_json: Callable[[object, int | None], str]) -> None:
        self.budget = _Budget()

        @pass_context
        def output(_context: object, value: object) -> str:
            return self._output(value)

        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols"],
            finalize=output,  # with a context, so that Jinja computes no output while it compiles
            optimized=False,
            cache_size=0,
        )
        filters: dict[str, Callable[..., Any]] = {name: self._bounded(self.filters[name]) for name in _FILTERS}
        filters |= {"join": self._join, "replace": self._replace, "safe": self._weighed}
        filters["tojson"] = self._bounded(lambda value, indent=None, **_: to_json(value, indent))
        filters[":concat"] = self._concat
        filters[":loop"] = self._loop
        filters[":weigh"] = self._weighed
        filters[":work"] = self._work
        self.filters = filters
        known: Mapping[str, Any] = self.tests
        self.tests = {name: self._tested(known[name]) for name in _TESTS}
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
            tree = _Rewriter().rewrite(self.parse(source))
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
        if name not in _METHODS.get(type(owner), ()):
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
            if not isinstance(times, int) or len(value) * times > _TEXT:
                raise TemplateRefused("it repeats something too often")
        if operator == "**" and not (_small(left, 1_000) and _small(right, 16)):
            raise TemplateRefused("it computes a power that is too large")
        if operator == "+" and isinstance(left, str) and isinstance(right, str) and len(left) + len(right) > _TEXT:
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

    def _output(self, value: object) -> str:
        text = self.budget.text(value)
        self.budget.spend(len(text))
        return text

    def _concat(self, values: list[object]) -> str:
        return self._joined("", values)

    def _joined(self, between: str, values: Any) -> str:
        texts = [self.budget.text(value) for value in values]
        if sum(map(len, texts)) + len(between) * len(texts) > _TEXT:
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
        if len(told) + told.count(before) * len(after) > _TEXT:
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


class _Rewriter:
    """Lets known nodes through, and puts the counting into the tree."""

    def rewrite(self, tree: nodes.Template) -> nodes.Template:
        for number, node in enumerate((tree, *tree.find_all(nodes.Node))):
            if number > _SIZE:
                raise TemplateRefused("it is too long")
            self._check(node)
        self._visit(tree)
        return tree

    def _check(self, node: nodes.Node) -> None:
        kind = type(node).__name__
        if kind not in _NODES or (isinstance(node, nodes.For) and node.recursive):
            raise TemplateRefused(f"it uses {kind}, line {node.lineno}")
        if isinstance(node, nodes.Filter) and node.name not in _FILTERS | _OWN_FILTERS:
            raise TemplateRefused(f"it uses the filter {node.name!r}, line {node.lineno}")
        if isinstance(node, nodes.Test) and node.name not in _TESTS:
            raise TemplateRefused(f"it uses the test {node.name!r}, line {node.lineno}")

    def _visit(self, node: nodes.Node) -> int:
        """Rewrite what is below `node`; returns how much there is of it."""
        weight = 1 + (len(node.data) if isinstance(node, nodes.TemplateData) else 0)
        for field, value in list(node.iter_fields()):
            if isinstance(value, list):
                for at, each in enumerate(value):
                    if isinstance(each, nodes.Node):
                        weight += self._visit(each)
                        value[at] = self._counted(each)
            elif isinstance(value, nodes.Node):
                weight += self._visit(value)
                setattr(node, field, self._counted(value))
        if isinstance(node, nodes.For):
            node.iter = _filtered(node.iter, ":loop")  # type: ignore[arg-type]
        if isinstance(node, nodes.Compare):
            node.expr = _filtered(node.expr, ":weigh")
            for operand in node.ops:
                operand.expr = _filtered(operand.expr, ":weigh")
        if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
            work = _filtered(nodes.Const(weight, lineno=node.lineno), ":work")
            node.body.insert(0, nodes.Output([work], lineno=node.lineno))
        return weight

    def _counted(self, node: nodes.Node) -> nodes.Node:
        """What stands in the place of `node`."""
        if isinstance(node, nodes.Concat):
            return _filtered(nodes.List(node.nodes, lineno=node.lineno), ":concat")
        made = isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
        if made or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)):
            assert isinstance(node, nodes.Expr)
            return _filtered(node, ":weigh")
        return node


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _small(value: object, most: int) -> bool:
    return isinstance(value, int) and abs(value) <= most


def _raise(message: object = "") -> NoReturn:
    raise jinja2.TemplateError(str(message)[:500] if isinstance(message, str | int) else "")


def _now(form: str) -> str:
    if len(form) > 100 or not _DATE.fullmatch(form):  # the C library pads to any width
        raise TemplateRefused("it asks for an unusual form of the date")
    return datetime.now().astimezone().strftime(form)


def _limit() -> None:
    """Keep this process small and short, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in ((resource.RLIMIT_AS, 1 << 30), (resource.RLIMIT_CPU, 10)):
        try:
            resource.setrlimit(what, (most, most))
        except (OSError, ValueError):  # macOS has no RLIMIT_AS
            continue


def _main() -> None:
    """Reads a template and conversations from standard input; writes ``{"refused": why or null}``.

    That a template raises something on a conversation is its good right: only what was refused is told.
    """
    _limit()
    told = json.load(sys.stdin)
    sandbox = Sandbox(lambda value, indent: json.dumps(value, indent=indent, default=str))
    refused: str | None = None
    try:
        template = sandbox.read(told["source"])
        for values in told["conversations"]:
            try:
                sandbox.render(template, values)
            except TemplateRefused:
                raise
            except Exception:
                continue
    except TemplateRefused as error:
        refused = str(error)
    except MemoryError:
        refused = "it takes too much memory"
    json.dump({"refused": refused}, sys.stdout)


if __name__ == "__main__":
    _main()
